"""Sessions: the list, and what the page of one is folded from."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from procurator.query_api.queries.base import PageQuery, Query, Statement
from procurator.query_api.search.fields import MEASURES, UNKNOWN
from procurator.query_api.search.filter import EVERYTHING, SessionFilter
from procurator.query_api.search.text import Text

#: Columns of the table ``sessions`` that an item of the list shows as they are.
LIST_COLUMNS = (
    "session_id",
    "org_id",
    "agent_id",
    "agent_name",
    "owner_team_id",
    "team_id",
    "team_name",
    "user_id",
    "initiator",
    "origin",
    "schedule_id",
    "workflow_id",
    "workflow_run_id",
    "parent_session_id",
    "timeout_s",
    "labels",
    "imported",
    "status",
    "ended_by",
    "end_reason",
    "end_inferred",
    "started_at",
    "completed_at",
    "last_activity_at",
    "turns",
    "tool_calls",
    "tool_errors",
    "model_calls",
    "open_tool_calls",
    "open_model_calls",
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost_usd",
    "priced_calls",
    "unpriced_calls",
    "unpriced_tokens",
    "reported_cost_usd",
    "models",
    "tools",
    "mcp_servers",
    "estimated",
    "events",
    "repeated_events",
    "missing_events",
    "dropped_events",
    "flags",
    "log_id",
    "as_of_offset",
    "as_of",
)


class Sort(StrEnum):
    """What a list is ordered by; sessions of which it is unknown stand last."""

    STARTED = "started"
    COST = "cost"
    DURATION = "duration"
    TOKENS = "tokens"


class Order(StrEnum):
    """Which way."""

    DESC = "desc"
    ASC = "asc"


_SortKey = Annotated[Decimal, Field(ge=-UNKNOWN, le=UNKNOWN, decimal_places=18)]


@dataclass(frozen=True, kw_only=True)
class ListSessions(PageQuery):
    """Candidates of the sessions in ``search``, newest start first unless told otherwise: ids, starts and sort keys.

    They are rows as they were inserted, for which the projection by start is quick: a session may stand there several
    times, by what was true of it before. `ShownSessions` tells what is. Nor is asked what only events show, but for
    the texts ``rare``, which few records hold.
    """

    key_type = (_SortKey, UUID)
    search: SessionFilter = EVERYTHING
    sort: Sort = Sort.STARTED
    order: Order = Order.DESC
    rare: tuple[Text, ...] = ()

    def render(self, statement: Statement) -> str:
        key = self.key
        conditions = [*self.search.candidates(statement, self.rare)]
        if self.after is not None:
            value, session_id = self.after
            text = f"{value:f}" if self.sort is Sort.COST else str(int(value))
            last = statement.bind("after_key", MEASURES[self.sort].clickhouse_type, text)
            session = statement.bind("after_session_id", "UUID", str(session_id))
            # The first follows from the second, and is one that the order of the projection answers.
            conditions += [f"{key} >= {last}", f"({key}, session_id) > ({last}, {session})"]
        limit = statement.bind("limit", "UInt32", self.limit + 1)
        return (
            f"SELECT session_id, newest_first, toString({key}) AS sort_key\n"
            f"FROM {statement.rows('sessions', *conditions)}\n"
            f"ORDER BY {key}, session_id\n"
            f"LIMIT {limit}"
        )

    @property
    def key(self) -> str:
        """Return the SQL of what the list ascends by."""
        if (self.sort, self.order) == (Sort.STARTED, Order.DESC):
            return "newest_first"
        sign = "-" if self.order is Order.DESC else ""
        return f"ifNull({sign}{MEASURES[self.sort].sql}, {UNKNOWN})"

    @staticmethod
    def key_of(row: Mapping[str, Any]) -> tuple[str | int, ...]:
        return row["sort_key"], row["session_id"]


@dataclass(frozen=True, kw_only=True)
class ShownSessions(Query):
    """What the list shows of those of some candidates that are in its search; what only events show is not asked.

    In a list by start it reads them where they stand by their ``starts``, close together: the rows that FINAL would
    take, some of them twice.
    """

    listed: ListSessions
    session_ids: tuple[str, ...]
    starts: tuple[int, ...]

    def render(self, statement: Statement) -> str:
        conditions = self.listed.search.candidates(statement)
        among = f"session_id IN {statement.bind('session_ids', 'Array(UUID)', self.session_ids)}"
        if self.listed.sort is Sort.STARTED:
            started = f"newest_first IN {statement.bind('starts', 'Array(Int64)', self.starts)}"
            newest = f"SELECT session_id, max(version) FROM {statement.rows('sessions', among)} GROUP BY session_id"
            rows = statement.rows("sessions", started, f"(session_id, version) IN ({newest})", *conditions)
        else:
            rows = statement.rows("sessions FINAL", among, *conditions)
        return f"SELECT {', '.join(LIST_COLUMNS)}, toString({self.listed.key}) AS sort_key\nFROM {rows}"


@dataclass(frozen=True, kw_only=True)
class PublishedState(Query):
    """The published state of one session: no row or one of log_id, as_of_offset and state (base64 of the record)."""

    session_id: UUID

    def render(self, statement: Statement) -> str:
        is_session = f"session_id = {statement.bind('session_id', 'UUID', str(self.session_id))}"
        # The version that FINAL would take, four times as fast: the states of the whole granule are not read.
        return (
            "SELECT log_id, as_of_offset, base64Encode(sessions.state) AS state\n"
            f"FROM {statement.rows('sessions', is_session)}\n"
            "ORDER BY version DESC LIMIT 1"
        )


@dataclass(frozen=True, kw_only=True)
class SessionExists(Query):
    """A row when the ledger or the state topic knows the session, none otherwise."""

    session_id: UUID

    def render(self, statement: Statement) -> str:
        is_session = f"session_id = {statement.bind('session_id', 'UUID', str(self.session_id))}"
        return (
            f"SELECT 1 AS known FROM {statement.rows('sessions', is_session)} LIMIT 1\n"
            "UNION ALL\n"
            f"SELECT 1 AS known FROM {statement.rows('events', is_session)} LIMIT 1"
        )
