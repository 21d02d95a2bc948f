"""Tool calls and model calls of one session: the record of the start and that of the completion as one.

A runtime may use a call id again ("call_0" in each turn), so the n-th start of an id belongs to its n-th completion.
One that has only started is open, one that has only completed lost its start: both are shown. Calls stand in the
order of their first record. Repeated, misplaced and rejected records do not show.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from procurator.events import TOKEN_BUCKETS
from procurator.query_api.queries.base import PageQuery, Statement, shortened, within_bytes


@dataclass(frozen=True, kw_only=True)
class _ListCalls(PageQuery):
    """What both kinds of call have in common; the key is the place of a call's first record."""

    key_type = (str, int)
    session_id: UUID

    #: Column of the call's id, and the kinds of its two records.
    call_id: ClassVar[str]
    started: ClassVar[str]
    completed: ClassVar[str]

    @abstractmethod
    def _columns(self, statement: Statement) -> list[str]:
        """Return what one call shows, as aggregates over its records."""

    def render(self, statement: Statement) -> str:
        span, is_session = statement.in_session(self.session_id)
        is_call = (is_session, "counted", f"kind IN ('{self.started}', '{self.completed}')")
        in_page = f"(log_id, offset) IN ({self._page(statement, is_call)})"
        columns = [
            self.call_id,
            f"anyIf(events.occurred_at, kind = '{self.started}') AS started_at",
            f"anyIf(events.occurred_at, kind = '{self.completed}') AS completed_at",
            f"nullIf(anyIf(events.status, kind = '{self.completed}'), '') AS status",
            "any(events.error_message) AS error_message",
            "any(events.latency_ms) AS latency_ms",
            "any(events.turn_index) AS turn_index",
            "arraySort(groupUniqArrayArray(events.estimated)) AS estimated",
            "sum(ifNull(length(events.content), 0)) AS body_bytes",
            "log_id",
            "min(events.offset) AS offset",
            *self._columns(statement),
        ]
        return (
            f"{span}SELECT {f',{_INDENT}'.join(columns)}\n"
            f"FROM (SELECT *, {self._occurrence()} FROM {statement.rows('events', *is_call, in_page)}) AS events\n"
            f"GROUP BY log_id, {self.call_id}, occurrence\n"
            "ORDER BY log_id, offset"
        )

    def _page(self, statement: Statement, is_call: tuple[str, ...]) -> str:
        """Return the subquery of the places of all records of the calls in the page."""
        after = ""
        if self.after is not None:
            log_id, offset = self.after
            log = statement.bind("after_log_id", "String", log_id)
            after = f" HAVING (log_id, place) > ({log}, {statement.bind('after_offset', 'UInt64', offset)})"
        limit = statement.bind("limit", "UInt32", self.limit + 1)
        sizes = (
            "SELECT log_id, min(offset) AS place, groupArray(offset) AS offsets, sum(bytes) AS body_bytes FROM (\n"
            f"    SELECT log_id, offset, {self.call_id}, ifNull(length(content), 0) AS bytes, {self._occurrence()}\n"
            f"    FROM {statement.rows('events', *is_call)}\n"
            f"  ) GROUP BY log_id, {self.call_id}, occurrence{after} ORDER BY log_id, place LIMIT {limit}"
        )
        return within_bytes(sizes, columns="log_id, arrayJoin(offsets) AS offset", order="log_id, place")

    def _occurrence(self) -> str:
        # Counted within a page it is another number, but it pairs the same records: a page holds, of each id,
        # consecutive occurrences from the same one on for starts and completions.
        return f"row_number() OVER (PARTITION BY log_id, {self.call_id}, kind ORDER BY offset) AS occurrence"

    @staticmethod
    def key_of(row: Mapping[str, Any]) -> tuple[str | int, ...]:
        return row["log_id"], row["offset"]


@dataclass(frozen=True, kw_only=True)
class ListToolCalls(_ListCalls):
    """Tool calls with input and output."""

    call_id = "tool_call_id"
    started = "ToolCallStarted"
    completed = "ToolCallCompleted"

    #: Characters shown of input and output; None: all.
    body_chars: int | None = None

    def _columns(self, statement: Statement) -> list[str]:
        body, cut = shortened(statement, "events.content", self.body_chars)
        return [
            "any(events.tool_name) AS tool_name",
            "any(events.mcp_server_id) AS mcp_server_id",
            f"anyIf({body}, kind = 'ToolCallStarted') AS input",
            f"anyIf({body}, kind = 'ToolCallCompleted') AS output",
            f"max({cut}) AS truncated",
            "any(events.timeout_ms) AS timeout_ms",
        ]


@dataclass(frozen=True, kw_only=True)
class ListModelCalls(_ListCalls):
    """Model calls with tokens and cost; provider and model are those that answered, else those asked."""

    call_id = "model_call_id"
    started = "ModelCallStarted"
    completed = "ModelCallCompleted"

    def _columns(self, statement: Statement) -> list[str]:
        answered = "(kind = 'ModelCallCompleted', events.offset)"
        return [
            f"argMax(events.provider, {answered}) AS provider",
            f"argMax(events.model, {answered}) AS model",
            "any(events.first_token_ms) AS first_token_ms",
            *(f"sum(events.{bucket}) AS {bucket}" for bucket in TOKEN_BUCKETS),
            "any(events.cost_usd) AS cost_usd",
            "nullIf(max(events.price_version), '') AS price_version",
            "any(events.reported_cost_usd) AS reported_cost_usd",
        ]


_INDENT = "\n  "
