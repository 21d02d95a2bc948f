"""Turns of one session, with the model and the tokens of their model calls."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from procurator.events import TOKEN_BUCKETS
from procurator.query_api.queries.base import PageQuery, Statement, shortened, within_bytes

_BODY_BYTES = "ifNull(length(events.content), 0) + ifNull(length(events.thinking), 0) AS body_bytes"


@dataclass(frozen=True, kw_only=True)
class ListTurns(PageQuery):
    """Turns by index, those of one index in ledger order. Repeated, misplaced and rejected records do not show.

    A model call belongs to the turn whose index it names; the model shown is that of the last call that completed.
    """

    key_type = (int, str, int)
    session_id: UUID
    #: Characters shown of each body; None: all.
    body_chars: int | None = None

    def render(self, statement: Statement) -> str:
        span, is_session = statement.in_session(self.session_id)
        is_turn = (is_session, "counted", "kind = 'TurnRecorded'")
        is_call = (is_session, "counted", "kind = 'ModelCallCompleted'", "turn_index IS NOT NULL")
        return (
            f"{span}SELECT turn.*, nullIf(calls.provider, '') AS provider, nullIf(calls.model, '') AS model,\n"
            f"  {', '.join(f'calls.{bucket}' for bucket in TOKEN_BUCKETS)},\n"
            "  calls.model_calls, calls.unpriced_calls, calls.cost_usd,\n"
            "  arrayDistinct(arrayConcat(turn.own, calls.estimated)) AS estimated\n"
            "FROM (\n"
            "  SELECT turn_index, log_id, offset, role, occurred_at AS timestamp, tool_call_id, model_call_id,\n"
            f"    {self._bodies(statement)}, estimated AS own, {_BODY_BYTES}\n"
            f"  FROM {statement.rows('events', *is_turn, f'(log_id, offset) IN ({self._page(statement, is_turn)})')}\n"
            ") AS turn\n"
            "LEFT JOIN (\n"
            "  SELECT turn_index, count() AS model_calls,\n"
            "    argMax(events.provider, (log_id, offset)) AS provider,\n"
            "    argMax(events.model, (log_id, offset)) AS model,\n"
            f"    {', '.join(f'sum(events.{bucket}) AS {bucket}' for bucket in TOKEN_BUCKETS)},\n"
            "    sum(events.cost_usd) AS cost_usd, countIf(events.cost_usd IS NULL) AS unpriced_calls,\n"
            "    groupUniqArrayArray(events.estimated) AS estimated\n"
            f"  FROM {statement.rows('events', *is_call)}\n"
            "  GROUP BY turn_index\n"
            ") AS calls ON calls.turn_index = turn.turn_index\n"
            "ORDER BY turn.turn_index, turn.log_id, turn.offset"
        )

    def _bodies(self, statement: Statement) -> str:
        content, content_cut = shortened(statement, "events.content", self.body_chars)
        thinking, thinking_cut = shortened(statement, "events.thinking", self.body_chars)
        return f"{content} AS content, {thinking} AS thinking, {content_cut} OR {thinking_cut} AS truncated"

    def _page(self, statement: Statement, is_turn: tuple[str, ...]) -> str:
        conditions = [*is_turn]
        if self.after is not None:
            turn_index, log_id, offset = self.after
            index = statement.bind("after_turn_index", "UInt32", turn_index)
            log = statement.bind("after_log_id", "String", log_id)
            place = statement.bind("after_offset", "UInt64", offset)
            conditions.append(f"(turn_index, log_id, offset) > ({index}, {log}, {place})")
        limit = statement.bind("limit", "UInt32", self.limit + 1)
        order = "turn_index, log_id, offset"
        # Of a session of any length only the sizes are read, which stand apart from the bodies.
        sizes = (
            f"SELECT {order}, {_BODY_BYTES} FROM {statement.rows('events', *conditions)} ORDER BY {order} LIMIT {limit}"
        )
        return within_bytes(sizes, columns="log_id, offset", order=order)

    @staticmethod
    def key_of(row: Mapping[str, Any]) -> tuple[str | int, ...]:
        return row["turn_index"], row["log_id"], row["offset"]
