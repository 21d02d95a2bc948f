"""Sessions: the list, and what the page of one is folded from."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from procurator.clock import to_us
from procurator.query_api.queries.base import PageQuery, Query, Statement

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
_EPOCH = "toDateTime64(0, 6, 'UTC')"


@dataclass(frozen=True, kw_only=True)
class ListSessions(PageQuery):
    """Sessions, newest start first; one whose start has not been seen stands last."""

    key_type = (datetime, UUID)

    def render(self, statement: Statement) -> str:
        conditions = []
        if self.after is not None:
            started_at, session_id = self.after
            us = statement.bind("after_started_us", "Int64", to_us(started_at))
            last = statement.bind("after_session_id", "UUID", str(session_id))
            conditions.append(
                f"(ifNull(started_at, {_EPOCH}), session_id) < (fromUnixTimestamp64Micro({us}, 'UTC'), {last})"
            )
        limit = statement.bind("limit", "UInt32", self.limit + 1)
        return (
            f"SELECT {', '.join(LIST_COLUMNS)}\n"
            f"FROM {statement.rows('sessions FINAL', *conditions)}\n"
            f"ORDER BY ifNull(started_at, {_EPOCH}) DESC, session_id DESC\n"
            f"LIMIT {limit}"
        )

    @staticmethod
    def key_of(row: Mapping[str, Any]) -> tuple[str | int, ...]:
        return row["started_at"] or "1970-01-01T00:00:00.000000Z", row["session_id"]


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
