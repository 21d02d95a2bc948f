"""Records of the state topic → columns of ``sessions``. Pure."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import pyarrow as pa

from procurator.avro_schemas.codec import to_decimal
from procurator.sink import arrow
from procurator.sink.rows import Columns

_TEXTS = (
    *("log_id", "org_id", "agent_id", "agent_name", "owner_team_id", "team_id", "team_name", "user_id"),
    *("initiator", "origin", "schedule_id", "workflow_id", "workflow_run_id", "status", "ended_by", "end_reason"),
)
_INTEGERS = (
    *("as_of_offset", "timeout_s", "turns", "tool_calls", "tool_errors", "model_calls"),
    *("open_tool_calls", "open_model_calls", "priced_calls", "unpriced_calls", "unpriced_tokens"),
    *("input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens"),
    *("events", "repeated_events", "missing_events", "dropped_events"),
)
_TIMES = ("as_of", "started_at", "completed_at", "last_activity_at")
_BOOLEANS = ("imported", "end_inferred")
_LISTS = ("models", "tools", "mcp_servers", "estimated", "flags")
_ERROR = ("type", "message", "stack")


class StateRecord(NamedTuple):
    """One record of the state topic: decoded, as it stands there, and where."""

    state: dict[str, Any]
    value: bytes
    log_id: str
    offset: int


def session_columns(records: Sequence[StateRecord]) -> Columns:
    """Return the columns of ``sessions``; the arrays that only folding needs stay in the bytes."""
    states = [record.state for record in records]
    errors = [state["error"] or {} for state in states]

    def column(name: str, type_: Any) -> arrow.Array:
        return pa.array([state[name] for state in states], type_)

    return {
        "session_id": arrow.uuids([state["session_id"] for state in states]),
        "parent_session_id": arrow.optional_uuids([state["parent_session_id"] for state in states]),
        **{name: column(name, pa.string()) for name in _TEXTS},
        **{name: column(name, pa.int64()) for name in _INTEGERS},
        **{name: column(name, pa.int64()).cast(arrow.TIMESTAMP) for name in _TIMES},
        **{name: column(name, pa.bool_()) for name in _BOOLEANS},
        **{name: arrow.lists([state[name] for state in states]) for name in _LISTS},
        **{f"error_{name}": pa.array([error.get(name) for error in errors], pa.string()) for name in _ERROR},
        "labels": pa.array([list(state["labels"].items()) for state in states], pa.map_(pa.string(), pa.string())),
        "cost_usd": arrow.money([to_decimal(state["cost_usd"]) for state in states]),
        "reported_cost_usd": arrow.money([_optional_decimal(state["reported_cost_usd"]) for state in states]),
        "state": pa.array([record.value for record in records], pa.binary()),
        "state_log_id": pa.array([record.log_id for record in records], pa.string()),
        "state_offset": pa.array([record.offset for record in records], pa.uint64()),
    }


def _optional_decimal(raw: bytes | None) -> Decimal | None:
    return None if raw is None else to_decimal(raw)
