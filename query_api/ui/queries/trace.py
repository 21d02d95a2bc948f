"""What the page of a session reads beside the API's lists: extents, markers, errors, hits, one exact text.

A trace is read in windows of turn indices, so that any part of a long one is as near as its beginning.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from procurator.query_api.queries.base import Query, Statement

ERRORS_MAX = 500
HITS_MAX = 200
MARKERS_MAX = 2_000
_SNIPPET_CHARS = 160


@dataclass(frozen=True, kw_only=True)
class _OfSession(Query):
    session_id: UUID

    def is_session(self, statement: Statement) -> str:
        return f"session_id = {statement.bind('session_id', 'UUID', str(self.session_id))}"


@dataclass(frozen=True, kw_only=True)
class TraceExtent(_OfSession):
    """One row: how many turns, the highest index, and per log the highest leaf of the session."""

    def render(self, statement: Statement) -> str:
        rows = statement.rows("events", self.is_session(statement))
        return (
            "SELECT countIf(counted AND kind = 'TurnRecorded') AS turns,\n"
            "  maxIf(ifNull(turn_index, 0), counted AND kind = 'TurnRecorded') AS last_turn,\n"
            "  count() AS entries, log_id, max(leaf_index) AS last_leaf\n"
            f"FROM {rows}\nGROUP BY log_id ORDER BY log_id"
        )


@dataclass(frozen=True, kw_only=True)
class ToolMarkers(_OfSession):
    """Tool calls that turns ``first`` to ``last`` triggered, without bodies, in ledger order."""

    first: int
    last: int

    def render(self, statement: Statement) -> str:
        is_session = self.is_session(statement)
        first, last = statement.bind("first", "UInt32", self.first), statement.bind("last", "UInt32", self.last)
        started = statement.rows(
            "events", is_session, "counted", "kind = 'ToolCallStarted'", f"turn_index BETWEEN {first} AND {last}"
        )
        completed = statement.rows("events", is_session, "counted", "kind = 'ToolCallCompleted'")
        return (
            "SELECT started.*, completed.status, completed.latency_ms, completed.error_message FROM (\n"
            "  SELECT log_id, offset, tool_call_id, tool_name, mcp_server_id, turn_index,\n"
            "    occurred_at AS started_at\n"
            f"  FROM {started} ORDER BY log_id, offset LIMIT {MARKERS_MAX}\n"
            ") AS started LEFT JOIN (\n"
            "  SELECT log_id, tool_call_id, any(events.status) AS status, any(events.latency_ms) AS latency_ms,\n"
            "    any(events.error_message) AS error_message\n"
            f"  FROM {completed} GROUP BY log_id, tool_call_id\n"
            ") AS completed USING (log_id, tool_call_id)\n"
            "ORDER BY log_id, offset"
        )


@dataclass(frozen=True, kw_only=True)
class Errors(_OfSession):
    """What went wrong, in ledger order: calls that ended badly, and the turn they belong to."""

    def render(self, statement: Statement) -> str:
        bad = statement.rows(
            "events",
            self.is_session(statement),
            "counted",
            "kind IN ('ToolCallCompleted', 'ModelCallCompleted')",
            "status IN ('ERROR', 'TIMEOUT')",
        )
        started = statement.rows(
            "events", self.is_session(statement), "counted", "kind IN ('ToolCallStarted', 'ModelCallStarted')"
        )
        return (
            "SELECT bad.*, ifNull(bad.own_turn, start.turn_index) AS turn_index FROM (\n"
            "  SELECT log_id, offset, kind, status, error_message, tool_call_id, tool_name, model,\n"
            "    turn_index AS own_turn, coalesce(tool_call_id, model_call_id, '') AS call_id\n"
            f"  FROM {bad} ORDER BY log_id, offset LIMIT {ERRORS_MAX}\n"
            ") AS bad LEFT JOIN (\n"
            "  SELECT coalesce(tool_call_id, model_call_id, '') AS call_id, min(events.turn_index) AS turn_index\n"
            f"  FROM {started} GROUP BY call_id\n"
            ") AS start USING (call_id)\nORDER BY log_id, offset"
        )


@dataclass(frozen=True, kw_only=True)
class Hits(_OfSession):
    """Turns and tool calls whose text has ``text`` in it, whatever its case, with what stands around it."""

    text: str

    def render(self, statement: Statement) -> str:
        text = statement.bind("text", "String", self.text)
        found = f"(positionCaseInsensitiveUTF8(ifNull(content, ''), {text}) > 0)"
        thought = f"(positionCaseInsensitiveUTF8(ifNull(thinking, ''), {text}) > 0)"
        rows = statement.rows("events", self.is_session(statement), "counted", f"({found} OR {thought})")
        around = f"if({found}, {_around('content', text)}, {_around('thinking', text)})"
        return (
            "SELECT log_id, offset, kind, role, turn_index, tool_call_id, tool_name,\n"
            f"  {around} AS snippet\n"
            f"FROM {rows}\nORDER BY log_id, offset LIMIT {HITS_MAX}"
        )


@dataclass(frozen=True, kw_only=True)
class ExactText(_OfSession):
    """The exact text of one record: ``content`` (of a call its input or output) or ``thinking``."""

    log_id: str
    offset: int
    thinking: bool = False

    def render(self, statement: Statement) -> str:
        log_id = statement.bind("log_id", "String", self.log_id)
        offset = statement.bind("offset", "UInt64", self.offset)
        rows = statement.rows("events", self.is_session(statement), f"log_id = {log_id}", f"offset = {offset}")
        return f"SELECT {'thinking' if self.thinking else 'content'} AS text FROM {rows} LIMIT 1"


@dataclass(frozen=True, kw_only=True)
class Spans(_OfSession):
    """Model and tool calls without bodies, from ``skip`` on, in the order of their first record."""

    limit: int
    skip: int = 0

    def render(self, statement: Statement) -> str:
        kinds = "kind IN ('ToolCallStarted', 'ToolCallCompleted', 'ModelCallStarted', 'ModelCallCompleted')"
        rows = statement.rows("events", self.is_session(statement), "counted", kinds)
        limit, skip = statement.bind("limit", "UInt32", self.limit + 1), statement.bind("skip", "UInt32", self.skip)
        return (
            "SELECT startsWith(kind, 'Model') AS is_model,\n"
            "  if(is_model, ifNull(model_call_id, ''), ifNull(tool_call_id, '')) AS call_id,\n"
            "  minIf(events.occurred_at, endsWith(kind, 'Started')) AS began,\n"
            "  maxIf(events.occurred_at, endsWith(kind, 'Completed')) AS ended,\n"
            "  countIf(endsWith(kind, 'Started')) AS starts, countIf(endsWith(kind, 'Completed')) AS completions,\n"
            "  max(events.status) AS call_status, max(events.latency_ms) AS latency, max(events.tool_name) AS tool,\n"
            "  argMax(events.model, offset) AS model_name, sum(events.cost_usd) AS cost,\n"
            f"  {_TOKENS} AS tokens, min(events.turn_index) AS turn, any(events.error_message) AS message,\n"
            "  log_id AS log, min(events.offset) AS place\n"
            f"FROM {rows}\nGROUP BY is_model, call_id, log\nORDER BY log, place LIMIT {limit} OFFSET {skip}"
        )


@dataclass(frozen=True, kw_only=True)
class CostByModel(_OfSession):
    """Tokens and cost by provider, model and price, the dearest first."""

    def render(self, statement: Statement) -> str:
        rows = statement.rows("events", self.is_session(statement), "counted", "kind = 'ModelCallCompleted'")
        buckets = ",\n  ".join(f"sum(events.{name}) AS {name}" for name in _BUCKETS)
        return (
            f"SELECT provider, model, price_version, count() AS calls,\n  {buckets},\n"
            "  sum(events.cost_usd) AS cost, countIf(events.cost_usd IS NULL) AS unpriced_calls,\n"
            "  sum(events.reported_cost_usd) AS reported, groupUniqArrayArray(events.estimated) AS guesses\n"
            f"FROM {rows}\nGROUP BY provider, model, price_version ORDER BY cost DESC NULLS LAST, calls DESC"
        )


@dataclass(frozen=True, kw_only=True)
class CostByTurn(_OfSession):
    """The dearest turns: tokens and cost of the model calls that name them."""

    limit: int = 50

    def render(self, statement: Statement) -> str:
        rows = statement.rows("events", self.is_session(statement), "counted", "kind = 'ModelCallCompleted'")
        limit = statement.bind("limit", "UInt32", self.limit)
        return (
            f"SELECT turn_index AS turn, count() AS calls, {_TOKENS} AS tokens,\n"
            "  sum(events.cost_usd) AS cost, countIf(events.cost_usd IS NULL) AS unpriced_calls\n"
            f"FROM {rows}\nGROUP BY turn ORDER BY cost DESC NULLS LAST, tokens DESC LIMIT {limit}"
        )


def _around(column: str, text: str) -> str:
    begin = f"greatest(1, toInt64(positionCaseInsensitiveUTF8({column}, {text})) - 60)"
    return f"substringUTF8({column}, {begin}, {_SNIPPET_CHARS})"


_BUCKETS = ("input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
_TOKENS = f"sum({' + '.join(f'events.{name}' for name in _BUCKETS)})"


def row_of(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the extent of a session's first log; zeros when it has no entries."""
    empty = {"turns": 0, "last_turn": 0, "entries": 0, "log_id": "", "last_leaf": -1}
    return rows[0] if rows else empty
