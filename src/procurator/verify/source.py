"""IO: the ledger's tables page by page, in the two orders that verification needs, in bounded memory."""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from procurator.access import Scope
from procurator.clickhouse import ClickHouse
from procurator.verify.block_roots import SPAN_OFFSETS, block_roots_sql
from procurator.verify.control import ControlRow

LEAVES_PAGE = 200_000
CONTROL_PAGE = 2_000
#: Purges and erasures may have megabytes each.
KINDS_PAGE = 50
ENTRIES_PAGE = 10_000
#: So that a statement stays below the server's max_query_size (256 KiB).
SESSIONS_PER_QUERY = 4_000
MISSING_MAX = 10_000
#: A page of whole entries ends once their bytes exceed this: at most this and one more entry are in memory.
PAGE_BYTES_MAX = 32 * 1024 * 1024


#: Leaves [first, end).
Bounds = tuple[int, int]


class Leaves(NamedTuple):
    """A page of a log's leaves, by ascending offset."""

    offsets: list[int]
    indexes: list[int]
    hashes: list[bytes]


@dataclass(frozen=True)
class TableOrder:
    """The primary key of a table: its columns, and how each is compared with a parameter."""

    table: str
    columns: tuple[str, ...]
    types: tuple[str, ...]


#: Broker time is compared as the µs that the page has.
ORDERS = {
    "events": TableOrder("events", ("session_id", "log_id", "offset"), ("UUID", "String", "UInt64")),
    "audit": TableOrder(
        "audit", ("org_id", "broker_time", "log_id", "offset"), ("String", "DateTime64(6, 'UTC')", "String", "UInt64")
    ),
}


class LedgerSource:
    """Reads one ClickHouse database. Raises what the client raises."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    def control_rows(self, log_id: str, first_offset: int = 0) -> Iterator[ControlRow]:
        """Yield the control log's rows in order."""
        offset = first_offset
        while True:
            page = self._arrow(
                "SELECT offset, leaf_index, leaf_hash, toUnixTimestamp64Micro(broker_time) AS time, key, value"
                " FROM ledger_control WHERE log_id = {log_id:String} AND offset >= {offset:UInt64}"
                " ORDER BY log_id, offset, leaf_index LIMIT {limit:UInt64} WITH TIES",
                {"log_id": log_id, "offset": offset, "limit": CONTROL_PAGE},
            )
            yield from (ControlRow(*row.values()) for row in page.to_pylist())
            if page.num_rows < CONTROL_PAGE:
                return
            offset = page.column("offset")[-1].as_py() + 1

    def leaves(self, table: str, log_id: str, offset: int = 0, from_rows: bool = False) -> Iterator[Leaves]:
        """Yield a log's leaves by ascending offset from ``offset`` on; entries at one offset are in one page.

        ``from_rows``: from the rows themselves, slowly, not from the projection that keeps them in this order.
        """
        while True:
            leaves = self.leaves_between(table, log_id, offset, None, LEAVES_PAGE, from_rows)
            if leaves.offsets:
                yield leaves
            if len(leaves.offsets) < LEAVES_PAGE:
                return
            offset = leaves.offsets[-1] + 1

    def leaves_between(
        self, table: str, log_id: str, first: int, end: int | None, limit: int, from_rows: bool = False
    ) -> Leaves:
        """Return the first ``limit`` leaves (more only at one offset) with offsets in [first, end)."""
        page = self._arrow(
            f"SELECT offset, leaf_index, leaf_hash FROM {table}"
            " WHERE log_id = {log_id:String} AND offset >= {first:UInt64} AND offset < {end:UInt64}"
            " ORDER BY log_id, offset LIMIT {limit:UInt64} WITH TIES"
            f" SETTINGS optimize_use_projections = {int(not from_rows)}",
            {"log_id": log_id, "first": first, "end": 2**63 if end is None else end, "limit": limit},
        )
        return Leaves(*(page.column(name).to_pylist() for name in ("offset", "leaf_index", "leaf_hash")))

    def block_roots(self, table: str, log_id: str, first: int) -> list[tuple[int, int, bytes]]:
        """Return (number, last offset, root) of the whole blocks within `SPAN_OFFSETS` offsets from ``first``."""
        parameters = {"log_id": log_id, "first": first, "end": first + SPAN_OFFSETS}
        page = self._arrow(block_roots_sql(table), parameters)
        return list(zip(*(column.to_pylist() for column in page.columns), strict=True))

    def session(self, session_id: str, limit: int, scope: Scope) -> Any:
        """Return the entries of a session in scope by log and offset, at most ``limit`` and one, as an Arrow table."""
        parameters: dict[str, Any] = {"session_id": session_id, "limit": limit + 1}

        def bind(name: str, type_: str, value: object) -> str:
            parameters[name] = value
            return f"{{{name}:{type_}}}"

        return self._arrow(
            "SELECT log_id, offset, leaf_index, toUnixTimestamp64Micro(broker_time) AS broker_time_us, key, value"
            f" FROM events WHERE session_id = {{session_id:UUID}} AND {scope.predicate(bind)}"
            " ORDER BY session_id, log_id, offset LIMIT {limit:UInt64}",
            parameters,
        )

    def session_rows(self, session_id: str) -> Any:
        """Return the whole rows of a session as `entries` does."""
        return self._arrow(
            "SELECT *, toUnixTimestamp64Micro(broker_time) AS broker_time_us FROM events"
            " WHERE session_id = {session_id:UUID} ORDER BY session_id, log_id, offset",
            {"session_id": session_id},
        )

    def control_entries(self, log_id: str, kind: str, size: int, newest: int) -> list[ControlRow]:
        """Return the ``newest`` last entries of one kind among the control log's first ``size``, newest first."""
        page = self._arrow(
            "SELECT offset, leaf_index, leaf_hash, toUnixTimestamp64Micro(broker_time) AS time, key, value"
            " FROM ledger_control"
            " WHERE log_id = {log_id:String} AND leaf_index < {size:UInt64} AND kind = {kind:String}"
            " ORDER BY log_id DESC, offset DESC LIMIT {limit:UInt64}",
            {"log_id": log_id, "size": size, "kind": kind, "limit": newest},
        )
        return [ControlRow(*row.values()) for row in page.to_pylist()]

    def control_kinds(self, log_id: str, kinds: Sequence[str], first: int, end: int) -> Iterator[ControlRow]:
        """Yield the entries of some kinds among the control log's leaves [first, end), in order."""
        while True:
            page = self._arrow(
                "SELECT offset, leaf_index, leaf_hash, toUnixTimestamp64Micro(broker_time) AS time, key, value"
                " FROM ledger_control WHERE log_id = {log_id:String} AND leaf_index >= {first:UInt64}"
                " AND leaf_index < {end:UInt64} AND kind IN {kinds:Array(String)}"
                " ORDER BY log_id, offset LIMIT {limit:UInt64}",
                {"log_id": log_id, "first": first, "end": end, "kinds": list(kinds), "limit": KINDS_PAGE},
            )
            yield from (ControlRow(*row.values()) for row in page.to_pylist())
            if page.num_rows < KINDS_PAGE:
                return
            first = page.column("leaf_index")[-1].as_py() + 1

    def control_size(self, log_id: str) -> int:
        """Return how many leaves of the control log the table has."""
        ((size,),) = self._clickhouse.rows(
            "SELECT if(count() = 0, 0, max(leaf_index) + 1) FROM ledger_control WHERE log_id = {log_id:String}",
            {"log_id": log_id},
        )
        return int(size)

    def entries(self, table: str, bounds: Mapping[str, Bounds]) -> Iterator[Any]:
        """Yield Arrow tables of whole rows in the order of the table's key: each log's leaves within ``bounds``."""
        order, after = ORDERS[table], None
        names = ", ".join(order.columns)
        within = " OR ".join(
            f"(log_id = '{log_id}' AND leaf_index >= {first} AND leaf_index < {end})"
            for log_id, (first, end) in bounds.items()
        )
        within = f"({within or '0'}){self._not_before(table, bounds)}"
        while True:
            after_sql, parameters = _after(order, after)
            # Sizes first: which rows make a page is decided without reading a body.
            page_end = self._clickhouse.rows(
                f"SELECT {', '.join(map(_text, order.columns))} FROM ("
                f"  SELECT {names}, sum(length(ifNull(value, ''))) OVER (ORDER BY {names} ROWS UNBOUNDED PRECEDING)"
                "     - length(ifNull(value, '')) AS bytes_before"
                f"  FROM {table} WHERE {after_sql} AND {within} ORDER BY {names} LIMIT {ENTRIES_PAGE})"
                f" WHERE bytes_before <= {PAGE_BYTES_MAX} ORDER BY {names} DESC LIMIT 1",
                parameters,
            )
            if not page_end:
                return
            after = tuple(page_end[0])
            until_sql, until = _until(order, after)
            yield self._arrow(
                f"SELECT *, toUnixTimestamp64Micro(broker_time) AS broker_time_us FROM {table}"
                f" WHERE {after_sql} AND {until_sql} AND {within} ORDER BY {names}",
                {**parameters, **until},
            )

    def _not_before(self, table: str, bounds: Mapping[str, Bounds]) -> str:
        """Return a condition that spares the server the days before the first leaf within ``bounds``."""
        if not all(first for first, _ in bounds.values()):
            return ""
        first_leaves = " OR ".join(f"(log_id = '{log_id}' AND leaf_index >= {n})" for log_id, (n, _) in bounds.items())
        sql = f"SELECT toString(toDate(min(broker_time))) FROM {table} WHERE {first_leaves or '0'}"
        return f" AND broker_time >= '{self._clickhouse.rows(sql)[0][0]}'"

    def sequences(
        self, log_id: str, session_ids: Sequence[str], before_leaf: int
    ) -> dict[str, dict[str, Iterable[int]]]:
        """Return the counted sequence numbers of sessions (checked UUIDs) in a log before a leaf, by emitter."""
        found: dict[str, dict[str, Iterable[int]]] = {}
        for at in range(0, len(session_ids), SESSIONS_PER_QUERY):
            ids = "','".join(session_ids[at : at + SESSIONS_PER_QUERY])
            rows = self._clickhouse.rows(
                f"SELECT session_id, emitter_id, groupUniqArray(sequence) FROM events WHERE session_id IN ('{ids}')"
                " AND log_id = {log_id:String} AND leaf_index < {leaf:UInt64} AND empty(flags)"
                " GROUP BY session_id, emitter_id",
                {"log_id": log_id, "leaf": before_leaf},
            )
            for session_id, emitter_id, numbers in rows:
                found.setdefault(session_id, {})[emitter_id] = numbers
        return found

    def missing_sequences(self) -> list[tuple[str, str, int]]:
        """Return (session, emitter, numbers missing), at most `MISSING_MAX`: by the columns, which were verified."""
        rows = self._clickhouse.rows(
            "SELECT toString(session_id), emitter_id, max(sequence) + 1 - uniqExact(sequence) AS missing FROM events"
            " WHERE sequence IS NOT NULL GROUP BY session_id, emitter_id HAVING missing > 0"
            f" ORDER BY session_id, emitter_id LIMIT {MISSING_MAX}"
            " SETTINGS optimize_aggregation_in_order = 1"
        )
        return [(session_id, emitter_id, int(missing)) for session_id, emitter_id, missing in rows]

    def log_ids(self, table: str) -> dict[str, int]:
        """Return the logs that have rows in a table, with how many."""
        return dict(self._clickhouse.rows(f"SELECT log_id, count() FROM {table} GROUP BY log_id"))

    def sizes(self, tables: Sequence[str]) -> dict[str, int]:
        """Return how many leaves each log has by the tables' own account; of a purged end its head still tells."""
        each = " UNION ALL ".join(f"SELECT log_id, leaf_index + 1 AS size FROM {table}" for table in tables)
        sql = f"SELECT log_id, max(size) FROM ({each} UNION ALL SELECT log_id, size FROM ledger_heads) GROUP BY log_id"
        return {log_id: int(size) for log_id, size in self._clickhouse.rows(sql)}

    def gaps(self) -> list[tuple[str, int, int]]:
        """Return (log, first offset, next offset) of what Kafka had lost before the sink came to it."""
        found = self._clickhouse.rows("SELECT log_id, first_offset, next_offset FROM ledger_gaps ORDER BY 1, 2")
        return [(log_id, first, end) for log_id, first, end in found]

    def _arrow(self, sql: str, parameters: dict[str, Any]) -> Any:
        return pa.ipc.open_stream(io.BytesIO(self._clickhouse.arrow_stream(sql, parameters))).read_all()


def _text(column: str) -> str:
    return f"toString({column})" if column in ("session_id", "broker_time") else column


def _key(order: TableOrder, prefix: str) -> str:
    columns = zip(order.columns, order.types, strict=True)
    return "(" + ", ".join(f"{{{prefix}_{name}:{type_}}}" for name, type_ in columns) + ")"


def _after(order: TableOrder, key: tuple[Any, ...] | None) -> tuple[str, dict[str, Any]]:
    if key is None:
        return "1", {}
    values = {f"after_{name}": value for name, value in zip(order.columns, key, strict=True)}
    return f"({', '.join(order.columns)}) > {_key(order, 'after')}", values


def _until(order: TableOrder, key: tuple[Any, ...]) -> tuple[str, dict[str, Any]]:
    values = {f"until_{name}": value for name, value in zip(order.columns, key, strict=True)}
    return f"({', '.join(order.columns)}) <= {_key(order, 'until')}", values
