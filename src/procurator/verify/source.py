"""IO: the ledger's tables page by page, in the two orders that verification needs, in bounded memory."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from procurator.clickhouse import ClickHouse
from procurator.verify.control import ControlRow

LEAVES_PAGE = 200_000
CONTROL_PAGE = 2_000
ENTRIES_PAGE = 10_000
#: A page of whole entries ends once their bytes exceed this: at most this and one more entry are in memory.
PAGE_BYTES_MAX = 32 * 1024 * 1024


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

    def leaves(self, table: str, log_id: str) -> Iterator[Leaves]:
        """Yield a log's leaves by ascending offset; entries at one offset are in one page."""
        offset = 0
        while True:
            page = self._arrow(
                f"SELECT offset, leaf_index, leaf_hash FROM {table}"
                " WHERE log_id = {log_id:String} AND offset >= {offset:UInt64}"
                " ORDER BY log_id, offset LIMIT {limit:UInt64} WITH TIES",
                {"log_id": log_id, "offset": offset, "limit": LEAVES_PAGE},
            )
            if not page.num_rows:
                return
            leaves = Leaves(*(page.column(name).to_pylist() for name in ("offset", "leaf_index", "leaf_hash")))
            yield leaves
            if page.num_rows < LEAVES_PAGE:
                return
            offset = leaves.offsets[-1] + 1

    def entries(self, table: str, after: tuple[Any, ...] | None = None) -> Iterator[tuple[Any, tuple[Any, ...]]]:
        """Yield (Arrow table of whole rows, key of its last row) in the order of the table's key."""
        order = ORDERS[table]
        names = ", ".join(order.columns)
        while True:
            after_sql, parameters = _after(order, after)
            # Sizes first: which rows make a page is decided without reading a body.
            bounds = self._clickhouse.rows(
                f"SELECT {', '.join(map(_text, order.columns))} FROM ("
                f"  SELECT {names}, sum(length(ifNull(value, ''))) OVER (ORDER BY {names} ROWS UNBOUNDED PRECEDING)"
                "     - length(ifNull(value, '')) AS bytes_before"
                f"  FROM {table} WHERE {after_sql} ORDER BY {names} LIMIT {ENTRIES_PAGE})"
                f" WHERE bytes_before <= {PAGE_BYTES_MAX} ORDER BY {names} DESC LIMIT 1",
                parameters,
            )
            if not bounds:
                return
            last = tuple(bounds[0])
            until_sql, until = _until(order, last)
            page = self._arrow(
                f"SELECT *, toUnixTimestamp64Micro(broker_time) AS broker_time_us FROM {table}"
                f" WHERE {after_sql} AND {until_sql} ORDER BY {names}",
                {**parameters, **until},
            )
            yield page, last
            after = last

    def log_ids(self, table: str) -> dict[str, int]:
        """Return the logs that have rows in a table, with how many."""
        return dict(self._clickhouse.rows(f"SELECT log_id, count() FROM {table} GROUP BY log_id"))

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
