"""The fields one can search sessions by: one table, from which language, query parameters, SQL and docs follow. Pure.

SQL is over the table ``sessions``; ``of`` takes the same from a state's raw record (session_state.avsc), so that a
session can be judged as its state is published, without asking ClickHouse.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from procurator.avro_schemas.codec import to_decimal
from procurator.clock import from_us
from procurator.config import settings
from procurator.events import TOKEN_BUCKETS
from procurator.query_api.search import values
from procurator.transitions import OPEN, STATUSES

_STALLED_AFTER_S = "STALLED_AFTER_S"

Record = Mapping[str, Any]
#: What an amount is compared as: µs of a duration and tokens are whole numbers.
Amount = Decimal | int | datetime


@dataclass(frozen=True)
class Name:
    """A field with exact values, of which any may be asked for. ``many``: a session has a list of them."""

    column: str
    about: str
    example: str
    many: bool = False
    choices: frozenset[str] = frozenset()
    is_uuid: bool = False

    def of(self, record: Record) -> frozenset[str]:
        """Return the values that a session has."""
        value = record[self.column]
        return frozenset(value) if self.many else frozenset() if value is None else frozenset({value})


@dataclass(frozen=True)
class Measure:
    """A field that is compared: ``sql`` is null, and ``of`` None, where a session's value is unknown.

    ``negated`` is a column that holds it times -1, and `UNKNOWN` where it is not known: rows may be found by that one.
    """

    sql: str
    about: str
    example: str
    parse: Callable[[str], Any]
    show: Callable[[Any], str]
    of: Callable[[Record], Amount | None]
    is_time: bool = False
    clickhouse_type: str = "Int64"
    negated: str = ""


@dataclass(frozen=True)
class Mark:
    """Something that is so or is not."""

    template: str
    about: str
    of: Callable[[Record, datetime], bool] = field(compare=False)

    @property
    def sql(self) -> str:
        """Return the condition; how long a silence may be is a setting, so it stands in none of the templates."""
        return self.template.replace(_STALLED_AFTER_S, str(settings().stalled_after_s))


def _tokens(record: Record) -> int:
    return sum(record[bucket] for bucket in TOKEN_BUCKETS)


def _cost(record: Record) -> Decimal | None:
    unknown = record["unpriced_calls"] and not record["priced_calls"]
    return None if unknown else to_decimal(record["cost_usd"])


def _duration_us(record: Record) -> int | None:
    started, completed = record["started_at"], record["completed_at"]
    return None if started is None or completed is None else completed - started


def _time(name: str) -> Callable[[Record], datetime | None]:
    return lambda record: None if record[name] is None else from_us(record[name])


def _count(name: str) -> Callable[[Record], int]:
    return lambda record: int(record[name])


NAMES: Mapping[str, Name] = MappingProxyType(
    {
        "id": Name("session_id", "session", "id:0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d", is_uuid=True),
        "agent": Name("agent_id", "agent", "agent:billing"),
        "owner_team": Name("owner_team_id", "team that owns the agent", "owner_team:payments"),
        "team": Name("team_id", "executing team", "team:research-crew"),
        "org": Name("org_id", "organisation", "org:acme"),
        "user": Name("user_id", "user or system identity that initiated it", "user:ada@example.com"),
        "initiator": Name("initiator", "USER or SYSTEM", "initiator:SYSTEM", choices=frozenset({"USER", "SYSTEM"})),
        "status": Name("status", "status", "status:FAILED,TIMEOUT", choices=STATUSES),
        "origin": Name(
            "origin",
            "how it came to be",
            "origin:SCHEDULE",
            choices=frozenset({"API", "SCHEDULE", "WORKFLOW", "A2A"}),
        ),
        "workflow": Name("workflow_id", "workflow", "workflow:onboarding"),
        "workflow_run": Name("workflow_run_id", "run of a workflow", "workflow_run:2026-11-22-1"),
        "schedule": Name("schedule_id", "schedule", "schedule:nightly"),
        "parent": Name(
            "parent_session_id",
            "session that started it over A2A",
            "parent:0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d",
            is_uuid=True,
        ),
        "model": Name("models", "model that answered", "model:gpt-4o", many=True),
        "tool": Name("tools", "tool called; with `=`, which ended so", "tool:get_order=ERROR,TIMEOUT", many=True),
        "mcp_server": Name("mcp_servers", "MCP server called", "mcp_server:orders", many=True),
        "label": Name("labels", "label it has; with `=`, with this value", "label:env=prod", many=True),
        "flag": Name("flags", "oddity across its records", "flag:event_after_end", many=True),
    }
)
#: Names whose values a session's first event fixes: what holds of them holds of every state of the session.
FIXED = frozenset({"id", "org", "agent", "owner_team"})
#: Names whose values may be followed by ``=`` and further values.
KEYED = frozenset({"label", "tool"})
#: How a tool call ends.
CALL_STATUSES = frozenset({"SUCCESS", "ERROR", "TIMEOUT", "CANCELLED"})

#: Stands for what is not known in an order: beyond every value, and within the columns' types.
UNKNOWN = 2**61

_TOKENS_SQL = f"({' + '.join(TOKEN_BUCKETS)})"
_DURATION_SQL = "(toUnixTimestamp64Micro(completed_at) - toUnixTimestamp64Micro(started_at))"


def _quantity(column: str, about: str) -> Measure:
    return Measure(column, about, f"{column}>20", values.count, str, _count(column))


MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        "started": Measure(
            "toUnixTimestamp64Micro(started_at)",
            "start",
            "started>=2026-11-01",
            values.instant,
            values.print_instant,
            _time("started_at"),
            is_time=True,
            negated="newest_first",
        ),
        "completed": Measure(
            "toUnixTimestamp64Micro(completed_at)",
            "completion; unknown while it is open",
            "completed<2026-11-22T16:00:00Z",
            values.instant,
            values.print_instant,
            _time("completed_at"),
            is_time=True,
        ),
        "cost": Measure(
            "if(unpriced_calls > 0 AND priced_calls = 0, NULL, cost_usd)",
            "cost in USD; unknown when no call has a price",
            "cost>0.5",
            values.number,
            values.print_number,
            _cost,
            clickhouse_type="Decimal(38, 18)",
        ),
        "duration": Measure(
            _DURATION_SQL,
            "start to completion; unknown while it is open",
            "duration>90s",
            values.duration_us,
            values.print_duration,
            _duration_us,
        ),
        "tokens": Measure(_TOKENS_SQL, "tokens, input and output", "tokens>100000", values.count, str, _tokens),
        "turns": _quantity("turns", "turns"),
        "tool_calls": _quantity("tool_calls", "tool calls"),
        "tool_errors": _quantity("tool_errors", "tool calls that ended in ERROR or TIMEOUT"),
        "model_calls": _quantity("model_calls", "model calls"),
    }
)


def _is_stalled(record: Record, now: datetime) -> bool:
    silence = now - from_us(record["as_of"])
    return record["status"] in OPEN and not record["imported"] and silence.total_seconds() > settings().stalled_after_s


MARKS: Mapping[str, Mark] = MappingProxyType(
    {
        "open": Mark(
            "status IN ('RUNNING', 'PENDING_APPROVAL')",
            "it has not ended",
            lambda record, _now: record["status"] in OPEN,
        ),
        "unpriced": Mark(
            "unpriced_calls > 0", "some model call has no price", lambda record, _now: record["unpriced_calls"] > 0
        ),
        "stalled": Mark(
            "status IN ('RUNNING', 'PENDING_APPROVAL') AND NOT imported"
            f" AND as_of < now64(6) - INTERVAL {_STALLED_AFTER_S} SECOND",
            "it is open, and nothing came from it for some time (two minutes by default), not even a heartbeat",
            _is_stalled,
        ),
        "incomplete": Mark(
            "missing_events > 0 OR dropped_events > 0 OR started_at IS NULL",
            "events are missing or were dropped, or its start was not seen",
            lambda record, _now: (
                record["missing_events"] > 0 or record["dropped_events"] > 0 or record["started_at"] is None
            ),
        ),
        "flagged": Mark("notEmpty(flags)", "it has a flag", lambda record, _now: bool(record["flags"])),
        "estimated": Mark(
            "notEmpty(estimated)", "some value of it is a guess", lambda record, _now: bool(record["estimated"])
        ),
        "imported": Mark(
            "imported", "it was recorded elsewhere and imported", lambda record, _now: bool(record["imported"])
        ),
    }
)

#: Other names that a field answers to: those of the columns.
ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "session_id": "id",
        "agent_id": "agent",
        "owner_team_id": "owner_team",
        "team_id": "team",
        "org_id": "org",
        "user_id": "user",
        "workflow_id": "workflow",
        "workflow_run_id": "workflow_run",
        "schedule_id": "schedule",
        "parent_session_id": "parent",
        "mcp_server_id": "mcp_server",
        "started_at": "started",
        "completed_at": "completed",
        "cost_usd": "cost",
        "total_tokens": "tokens",
    }
)
