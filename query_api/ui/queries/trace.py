"""What the page of a session reads beside the API's lists: its extent, its windows, their turns, one exact text.

A trace is read in windows of turn indices, so that any part of a long one is as near as its beginning. What stands
between the turns is in `markers`.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from procurator.events import TOKEN_BUCKETS
from procurator.query_api.queries.base import Query, Statement

#: A page lists no more windows than these: an index says nothing about how many turns there are.
WINDOWS_MAX = 2_000
#: Of turns that share their indexes no more are shown.
TURNS_MAX = 1_000
IS_TURN, IS_CALL = "kind = 'TurnRecorded'", "kind = 'ModelCallCompleted'"


@dataclass(frozen=True, kw_only=True)
class OfSession(Query):
    """A question about one session."""

    session_id: UUID

    def is_session(self, statement: Statement) -> str:
        return f"session_id = {statement.bind('session_id', 'UUID', str(self.session_id))}"


@dataclass(frozen=True, kw_only=True)
class TraceExtent(OfSession):
    """One row per log, the first to be shown: how many turns, lowest and highest index, the last offset."""

    def render(self, statement: Statement) -> str:
        rows = statement.rows("events", self.is_session(statement))
        return (
            "SELECT countIf(counted AND kind = 'TurnRecorded') AS turns,\n"
            "  minIf(ifNull(turn_index, 0), counted AND kind = 'TurnRecorded') AS first_turn,\n"
            "  maxIf(ifNull(turn_index, 0), counted AND kind = 'TurnRecorded') AS last_turn,\n"
            "  log_id, max(offset) AS last_offset\n"
            f"FROM {rows}\nGROUP BY log_id ORDER BY log_id"
        )


@dataclass(frozen=True, kw_only=True)
class Children(OfSession):
    """One row: how many sessions this one started over A2A."""

    def render(self, statement: Statement) -> str:
        parent = statement.bind("session_id", "UUID", str(self.session_id))
        rows = statement.rows("sessions", f"parent_session_id = {parent}")
        return f"SELECT uniqExact(session_id) AS started FROM {rows}"


@dataclass(frozen=True, kw_only=True)
class WindowTurns(OfSession):
    """Turns ``first`` to ``last`` as `ListTurns` has them, in its order, each text cut after ``chars`` characters.

    ``content_chars`` and ``thinking_chars`` count those of the whole texts.
    """

    first: int
    last: int
    chars: int

    def render(self, statement: Statement) -> str:
        first, last = statement.bind("first", "UInt32", self.first), statement.bind("last", "UInt32", self.last)
        window = (self.is_session(statement), "counted", f"turn_index BETWEEN {first} AND {last}")
        chars = statement.bind("chars", "UInt32", self.chars)
        texts = ",\n    ".join(
            f"substringUTF8(events.{text}, 1, {chars}) AS {text}, lengthUTF8(events.{text}) AS {text}_chars"
            for text in ("content", "thinking")
        )
        sums = ", ".join(f"sum(events.{bucket}) AS {bucket}" for bucket in TOKEN_BUCKETS)
        return (
            "SELECT turn.*, nullIf(calls.provider, '') AS provider, nullIf(calls.model, '') AS model,\n"
            f"  {', '.join(f'calls.{bucket}' for bucket in TOKEN_BUCKETS)},\n"
            "  calls.model_calls, calls.unpriced_calls, calls.cost_usd,\n"
            "  arrayDistinct(arrayConcat(turn.own, calls.estimated)) AS estimated\n"
            "FROM (\n"
            "  SELECT turn_index, log_id, offset, role, occurred_at AS timestamp, tool_call_id, model_call_id,\n"
            f"    {texts}, estimated AS own\n"
            f"  FROM {statement.rows('events', *window, IS_TURN)}\n"
            f"  ORDER BY turn_index, log_id, offset LIMIT {TURNS_MAX}\n"
            ") AS turn\n"
            "LEFT JOIN (\n"
            "  SELECT turn_index, count() AS model_calls,\n"
            "    argMax(events.provider, (log_id, offset)) AS provider,\n"
            f"    argMax(events.model, (log_id, offset)) AS model, {sums},\n"
            "    sum(events.cost_usd) AS cost_usd, countIf(events.cost_usd IS NULL) AS unpriced_calls,\n"
            "    groupUniqArrayArray(events.estimated) AS estimated\n"
            f"  FROM {statement.rows('events', *window, IS_CALL)}\n"
            "  GROUP BY turn_index\n"
            ") AS calls ON calls.turn_index = turn.turn_index\n"
            "ORDER BY turn.turn_index, turn.log_id, turn.offset"
        )


@dataclass(frozen=True, kw_only=True)
class ExactText(OfSession):
    """The exact text of one record: ``content`` (of a call its input or output) or ``thinking``."""

    log_id: str
    offset: int
    thinking: bool = False

    def render(self, statement: Statement) -> str:
        log_id = statement.bind("log_id", "String", self.log_id)
        offset = statement.bind("offset", "UInt64", self.offset)
        rows = statement.rows("events", self.is_session(statement), f"log_id = {log_id}", f"offset = {offset}")
        return f"SELECT {'thinking' if self.thinking else 'content'} AS text FROM {rows} LIMIT 1"


def extent_of(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the extent of a session's first log; zeros when it has no entries."""
    empty = {"turns": 0, "first_turn": 0, "last_turn": 0, "log_id": "", "last_offset": -1}
    return rows[0] if rows else empty
