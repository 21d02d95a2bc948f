"""What stands in a trace beside its turns: tool calls, what went wrong, what a search found.

Starts and completions are paired as in `queries.calls`: the n-th start of an id belongs to its n-th completion. A call
stands with the turn that it names. One that names none stands after the turns that came before it in the ledger, with
the highest of them; -1: before the first. A call is known by the place of its first record.
"""

from dataclasses import dataclass

from procurator.query_api.queries.base import Statement
from procurator.query_api.ui.queries.trace import IS_TURN, WINDOWS_MAX, OfSession

ERRORS_MAX = 500
HITS_MAX = 200
MARKERS_MAX = 2_000
_SNIPPET_CHARS = 160
TOOLS = "'ToolCallStarted', 'ToolCallCompleted'"
MODELS = "'ModelCallStarted', 'ModelCallCompleted'"
#: What the records of one call have in common, in `records`.
CALL = "log_id, is_model, call_id, occurrence"
_TURN = "ifNull(toInt64(any(events.turn_index)), argMin(events.turns_before, events.offset))"
_TURNS_BEFORE = (
    "max(if(kind = 'TurnRecorded', toInt64(ifNull(turn_index, 0)), -1)) OVER (PARTITION BY log_id ORDER BY offset)"
)


def records(statement: Statement, is_session: str, kinds: str) -> str:
    """Return the subquery of the records of calls, told apart by `CALL`, each with where it stands among the turns."""
    rows = statement.rows("events", is_session, "counted", f"kind IN ('TurnRecorded', 'SessionEnded', {kinds})")
    return (
        "SELECT *, startsWith(kind, 'Model') AS is_model,\n"
        "    ifNull(if(is_model, model_call_id, tool_call_id), '') AS call_id,\n"
        "    row_number() OVER (PARTITION BY log_id, call_id, kind ORDER BY offset) AS occurrence\n"
        "  FROM (\n"
        f"    SELECT *, {_TURNS_BEFORE} AS turns_before,\n"
        "      max(kind = 'SessionEnded') OVER (PARTITION BY log_id) AS session_over\n"
        f"    FROM {rows}\n"
        f"  ) WHERE kind IN ({kinds})"
    )


@dataclass(frozen=True, kw_only=True)
class Windows(OfSession):
    """Where windows of ``size`` turns begin that have a turn or a call, those nearest to turn ``near`` first."""

    size: int
    near: int

    def render(self, statement: Statement) -> str:
        size, near = statement.bind("size", "UInt32", self.size), statement.bind("near", "Int64", self.near)
        rows = statement.rows("events", self.is_session(statement), "counted", f"kind IN ('TurnRecorded', {TOOLS})")
        return (
            f"SELECT DISTINCT intDiv(greatest(turn, 0), {size}) * {size} AS first\n"
            f"FROM (SELECT ifNull(toInt64(turn_index), {_TURNS_BEFORE}) AS turn FROM {rows})\n"
            f"ORDER BY abs(first - {near}), first LIMIT {WINDOWS_MAX}"
        )


@dataclass(frozen=True, kw_only=True)
class ToolMarkers(OfSession):
    """Tool calls that stand with turns ``first`` to ``last``, without bodies, in ledger order.

    ``ended_at_offset`` is null and ``status`` empty while a call has not completed, ``session_over`` when none will.
    """

    first: int
    last: int

    def render(self, statement: Statement) -> str:
        first, last = statement.bind("first", "UInt32", self.first), statement.bind("last", "UInt32", self.last)
        return (
            f"SELECT log_id, min(events.offset) AS offset, {_TURN} AS turn_index, call_id AS tool_call_id,\n"
            "  any(events.tool_name) AS tool_name, any(events.mcp_server_id) AS mcp_server_id,\n"
            "  minIf(toNullable(events.offset), kind = 'ToolCallCompleted') AS ended_at_offset,\n"
            "  nullIf(max(events.status), '') AS status, any(events.latency_ms) AS latency_ms,\n"
            "  any(events.error_message) AS error_message, any(events.session_over) AS session_over\n"
            f"FROM (\n  {records(statement, self.is_session(statement), TOOLS)}\n) AS events\n"
            f"GROUP BY {CALL} HAVING greatest(turn_index, 0) BETWEEN {first} AND {last}\n"
            f"ORDER BY log_id, offset LIMIT {MARKERS_MAX}"
        )


@dataclass(frozen=True, kw_only=True)
class Errors(OfSession):
    """What went wrong, in ledger order: calls that ended badly, and where they stand.

    A model call stands with the turn it names once that is recorded, else as one that names none.
    """

    def render(self, statement: Statement) -> str:
        is_session = self.is_session(statement)
        turns = f"SELECT ifNull(turn_index, 0) FROM {statement.rows('events', is_session, 'counted', IS_TURN)}"
        return (
            "SELECT log_id, min(events.offset) AS offset, max(events.offset) AS failed_at, is_model,\n"
            "  max(events.status) AS status, any(events.error_message) AS error_message,\n"
            "  max(events.tool_name) AS tool_name, argMax(events.model, events.offset) AS model,\n"
            f"  {_TURN} AS own_turn,\n"
            f"  if(is_model AND own_turn NOT IN ({turns}), argMin(events.turns_before, events.offset), own_turn)"
            " AS turn_index\n"
            f"FROM (\n  {records(statement, is_session, f'{TOOLS}, {MODELS}')}\n) AS events\n"
            f"GROUP BY {CALL} HAVING status IN ('ERROR', 'TIMEOUT')\n"
            f"ORDER BY log_id, failed_at LIMIT {ERRORS_MAX}"
        )


@dataclass(frozen=True, kw_only=True)
class Hits(OfSession):
    """Turns and tool calls whose text has ``text`` in it, whatever its case, with what stands around it.

    Of a call ``place`` is the offset of its first record.
    """

    text: str

    def render(self, statement: Statement) -> str:
        is_session = self.is_session(statement)
        text = statement.bind("text", "String", self.text)
        found = f"(positionCaseInsensitiveUTF8(ifNull(content, ''), {text}) > 0)"
        thought = f"(positionCaseInsensitiveUTF8(ifNull(thinking, ''), {text}) > 0)"
        rows = statement.rows("events", is_session, "counted", f"({found} OR {thought})")
        around = f"if({found}, {_around('content', text)}, {_around('thinking', text)})"
        return (
            "SELECT hit.*, if(is_call, call.turn, hit.own_turn) AS turn_index, call.place AS place FROM (\n"
            "  SELECT log_id, offset, startsWith(kind, 'ToolCall') AS is_call, kind, role, tool_name,\n"
            f"    turn_index AS own_turn, {around} AS snippet\n"
            f"  FROM {rows}\n  ORDER BY log_id, offset LIMIT {HITS_MAX}\n"
            ") AS hit LEFT JOIN (\n"
            "  SELECT log_id, arrayJoin(groupArray(events.offset)) AS offset, min(events.offset) AS place,\n"
            f"    {_TURN} AS turn\n"
            f"  FROM (\n  {records(statement, is_session, TOOLS)}\n  ) AS events GROUP BY {CALL}\n"
            ") AS call USING (log_id, offset)\nORDER BY log_id, offset"
        )


def _around(column: str, text: str) -> str:
    begin = f"greatest(1, toInt64(positionCaseInsensitiveUTF8({column}, {text})) - 60)"
    return f"substringUTF8({column}, {begin}, {_SNIPPET_CHARS})"
