"""What a live stream asks of the tables: what stands after a place, and how far they have come."""

from dataclasses import dataclass
from uuid import UUID

from procurator.query_api.queries.base import PAGE_BYTES_MAX, Query, Row, Statement, within_bytes
from procurator.query_api.queries.sessions import LIST_COLUMNS
from procurator.query_api.search.filter import SessionFilter

#: Places in logs: (log id, last offset had of it).
Places = tuple[tuple[str, int], ...]

PAGE_MAX = 500
_UNION = "\n  UNION ALL\n  "


@dataclass(frozen=True, kw_only=True)
class EntriesAfter(Query):
    """The next entries of a session after ``places``, by log and offset; `is_full` says whether there may be more.

    Misplaced records are left out: they are in the list of entries alone.
    """

    session_id: UUID
    places: Places = ()

    def render(self, statement: Statement) -> str:
        is_session = f"session_id = {statement.bind('session_id', 'UUID', str(self.session_id))}"
        conditions = (is_session, "NOT has(flags, 'misplaced')", _after(statement, "log_id", "offset", self.places))
        limit = statement.bind("limit", "UInt32", PAGE_MAX)
        sizes = (
            "SELECT log_id, offset, ifNull(length(value), 0) AS body_bytes"
            f" FROM {statement.rows('events', *conditions)} ORDER BY log_id, offset LIMIT {limit}"
        )
        page = within_bytes(sizes, columns="log_id, offset", order="log_id, offset")
        return (
            "SELECT log_id, offset, broker_time, leaf_index, lower(hex(leaf_hash)) AS leaf_hash,\n"
            "  base64Encode(events.key) AS key, kind, flags, rejected_reason, base64Encode(events.value) AS value,\n"
            "  turn_index, ifNull(length(events.value), 0) AS body_bytes\n"
            f"FROM {statement.rows('events', is_session, f'(log_id, offset) IN ({page})')}\n"
            "ORDER BY log_id, offset"
        )


@dataclass(frozen=True, kw_only=True)
class StatesAfter(Query):
    """Sessions whose latest published state stands after ``places`` of the state topic, in its order."""

    places: Places

    def render(self, statement: Statement) -> str:
        later = _after(statement, "state_log_id", "state_offset", self.places)
        limit = statement.bind("limit", "UInt32", PAGE_MAX)
        return (
            f"SELECT {', '.join(LIST_COLUMNS)}, state_log_id, state_offset, base64Encode(sessions.state) AS state,\n"
            "  length(sessions.state) AS body_bytes\n"
            f"FROM {statement.rows('sessions FINAL', later)}\n"
            f"ORDER BY state_log_id, state_offset LIMIT {limit}"
        )


@dataclass(frozen=True, kw_only=True)
class NewestStates(Query):
    """The newest sessions that a filter finds, at most ``limit``, with the place of their latest published state."""

    search: SessionFilter
    limit: int

    def render(self, statement: Statement) -> str:
        return (
            f"SELECT {', '.join(LIST_COLUMNS)}, state_log_id, state_offset\n"
            f"FROM {statement.rows('sessions FINAL', *self.search.conditions(statement))}\n"
            f"ORDER BY newest_first, session_id LIMIT {statement.bind('limit', 'UInt32', self.limit)}"
        )


@dataclass(frozen=True, kw_only=True)
class LedgerHeads(Query):
    """Up to where the ledger has every record, at least: rows of log_id, next_offset.

    ``starts`` are offsets to look from: what stands after them is counted, else the heads' rows say it, which may be
    a second behind. Logs are no session's: they have no scope.
    """

    starts: Places

    def render(self, statement: Statement) -> str:
        logs = statement.bind("logs", "Array(String)", [log_id for log_id, _ in self.starts])
        lookups = [
            f"SELECT log_id, max(next_offset) AS head FROM {statement.rows('ledger_heads', f'log_id IN {logs}')}"
            " GROUP BY log_id"
        ]
        for number, (log_id, start) in enumerate(self.starts):
            is_log = f"log_id = {statement.bind(f'log_{number}', 'String', log_id)}"
            later = f"offset >= {statement.bind(f'from_{number}', 'UInt64', max(0, start - 1))}"
            lookups.append(
                f"SELECT log_id, max(offset) + 1 AS head FROM {statement.rows('events', is_log, later)} GROUP BY log_id"
            )
        return f"SELECT log_id, max(head) AS next_offset FROM (\n  {_UNION.join(lookups)}\n) GROUP BY log_id"


@dataclass(frozen=True, kw_only=True)
class StateHeads(Query):
    """Up to where the table of sessions has the state topic: rows of log_id, next_offset. A purge lets it fall."""

    logs: tuple[str, ...]

    def render(self, statement: Statement) -> str:
        is_log = f"state_log_id IN {statement.bind('logs', 'Array(String)', self.logs)}"
        return (
            "SELECT state_log_id AS log_id, max(state_offset) + 1 AS next_offset\n"
            f"FROM {statement.rows('sessions', is_log)}\n"
            "GROUP BY state_log_id"
        )


def is_full(rows: list[Row]) -> bool:
    """Tell whether a page may have a successor."""
    return len(rows) >= PAGE_MAX or sum(row["body_bytes"] for row in rows) >= PAGE_BYTES_MAX


def _after(statement: Statement, log_id: str, offset: str, places: Places) -> str:
    """Return the condition that a row stands after the last offset had of its log, be that log known or not."""
    logs = statement.bind("after_logs", "Array(String)", [name for name, _ in places])
    offsets = statement.bind("after_offsets", "Array(Int64)", [last for _, last in places])
    return f"toInt64({offset}) > if(has({logs}, {log_id}), arrayElement({offsets}, indexOf({logs}, {log_id})), -1)"
