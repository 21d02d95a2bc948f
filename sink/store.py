"""IO: the ledger in ClickHouse, as the sink reads and extends it. Every method raises what the client raises."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from procurator.clickhouse import ClickHouse
from procurator.sink import arrow
from procurator.sink.blocks import Block
from procurator.sink.dead_letter import KEY_BYTES_MAX
from procurator.sink.ledger import HEAD_AGE_US_MAX, NO_TAIL, Gap, Head, Log, Tail, checked_chain

_PAGE_ROWS = 100_000
#: So that a statement stays below the server's max_query_size (256 KiB).
_SESSIONS_PER_QUERY = 5_000


@dataclass(frozen=True)
class Reading:
    """A head as read from the ledger: when by the server's clock (µs), and by ours (s, monotonic).

    ``settled_offset``: every entry before it has its dead-letter pointer sent; the last row of ``ledger_heads``.
    """

    head: Head
    server_time_us: int
    read_at_s: float
    settled_offset: int
    settled_at_s: float = 0.0


class LedgerStore:
    """One ledgered topic's table with the heads and gaps of its logs."""

    def __init__(self, clickhouse: ClickHouse, table: str) -> None:
        self._clickhouse = clickhouse
        self.table = table

    def read(self, log_id: str) -> Reading:
        """Return the head of a log: its row in ``ledger_heads``, and the entries and gaps after it.

        Raises Fatal when the entries are no chain.
        """
        read_at_s = time.monotonic()
        ((now_us,),) = self._clickhouse.rows("SELECT toUnixTimestamp64Micro(now64(6))")
        head = settled = self._head_row(log_id)
        while page := self._entries(log_id, head.next_offset):
            head = checked_chain(head, page)
        gaps = self._clickhouse.rows(
            "SELECT max(next_offset) FROM ledger_gaps WHERE log_id = {log_id:String}", {"log_id": log_id}
        )
        head = head.moved_to(max(head.next_offset, *(int(row[0]) for row in gaps)))
        return Reading(head, now_us, read_at_s, settled.next_offset)

    def tail(self, log_id: str, offset: int) -> tuple[Tail, int]:
        """Return what a log's ledger has at and after ``offset``, and the server's time just before looking."""
        ((now_us, entries, last, leaf_index, leaf_hash),) = self._clickhouse.rows(
            "SELECT toUnixTimestamp64Micro(now64(6)), count(), max(offset), max(leaf_index),"
            f" hex(argMax(leaf_hash, offset)) FROM {self.table}"
            " WHERE log_id = {log_id:String} AND offset >= {offset:UInt64}",
            {"log_id": log_id, "offset": offset},
        )
        tail = Tail(entries, last + 1, leaf_index + 1, bytes.fromhex(leaf_hash)) if entries else NO_TAIL
        return tail, now_us

    def insert(self, block: Block, server_time_us: int) -> None:
        """Insert a block unless its head, read at ``server_time_us``, has been followed by another block.

        That this one was dropped is no error: look at the tail. Raises TooLate when the reading is too old.
        """
        insert_by = arrow.constant_time(server_time_us + HEAD_AGE_US_MAX, block.entries)
        columns = {**block.columns, "insert_by": insert_by}
        self._clickhouse.insert(block.table, list(columns), arrow.ipc_stream(columns), block.before.token)

    def insert_gap(self, gap: Gap) -> None:
        """Record that offsets are lost, unless another writer recorded a gap at the same head."""
        self._clickhouse.execute(
            "INSERT INTO ledger_gaps (log_id, first_offset, next_offset)"
            " SELECT {log_id:String}, {first:UInt64}, {next:UInt64}",
            {"log_id": gap.log_id, "first": gap.first_offset, "next": gap.next_offset},
            settings={"insert_deduplication_token": f"{gap.log_id}@{gap.first_offset}"},
        )

    def settle(self, log: Log, head: Head) -> None:
        """Write the head's row: everything before it is in the ledger and its pointers are sent."""
        self._clickhouse.execute(
            "INSERT INTO ledger_heads (log_id, topic, partition, size, next_offset, frontier, root)"
            " SELECT {log_id:String}, {topic:String}, {partition:UInt32}, {size:UInt64}, {next:UInt64},"
            " arrayMap(x -> unhex(x), {frontier:Array(String)}), unhex({root:String})",
            {
                "log_id": log.log_id,
                "topic": log.topic,
                "partition": log.partition,
                "size": head.size,
                "next": head.next_offset,
                "frontier": [node.hex() for node in head.frontier],
                "root": head.root.hex(),
            },
        )

    def rejected(self, log: Log, first_offset: int, next_offset: int) -> list[dict[str, Any]]:
        """Return the dead-letter pointer of each rejected entry in [first, next)."""
        rows = self._clickhouse.rows(
            "SELECT offset, toUnixTimestamp64Micro(broker_time), isNull(key),"
            " hex(substring(ifNull(key, ''), 1, {key_bytes:UInt32})), hex(SHA256(ifNull(value, ''))),"
            " length(ifNull(value, '')), rejected_reason, rejected_message"
            f" FROM {self.table} WHERE log_id = {{log_id:String}} AND offset >= {{first:UInt64}}"
            " AND offset < {next:UInt64} AND has(flags, 'rejected') ORDER BY offset",
            {"log_id": log.log_id, "first": first_offset, "next": next_offset, "key_bytes": KEY_BYTES_MAX},
        )
        return [
            {
                "source_topic": log.topic,
                "log_id": log.log_id,
                "partition": log.partition,
                "offset": offset,
                "broker_time": broker_time_us,
                "key": None if key_is_null else bytes.fromhex(key),
                "reason": reason,
                "message": message,
                "value_sha256": bytes.fromhex(digest),
                "value_bytes": size,
            }
            for offset, broker_time_us, key_is_null, key, digest, size, reason, message in rows
        ]

    def sequences(
        self, log_id: str, before_offset: int, session_ids: Sequence[str]
    ) -> Mapping[str, Mapping[str, Iterable[int]]]:
        """Return the sequence numbers that count, by emitter, of these sessions' entries before an offset.

        ``session_ids`` are checked UUIDs: they stand in the statement's text, there being too many for parameters.
        """
        found: dict[str, dict[str, Iterable[int]]] = {}
        for at in range(0, len(session_ids), _SESSIONS_PER_QUERY):
            ids = "','".join(session_ids[at : at + _SESSIONS_PER_QUERY])
            rows = self._clickhouse.rows(
                "SELECT session_id, emitter_id, groupUniqArray(sequence)"
                f" FROM {self.table} WHERE session_id IN ('{ids}')"
                " AND log_id = {log_id:String} AND offset < {offset:UInt64} AND empty(flags)"
                " GROUP BY session_id, emitter_id",
                {"log_id": log_id, "offset": before_offset},
            )
            for session_id, emitter_id, sequences in rows:
                found.setdefault(session_id, {})[emitter_id] = sequences
        return found

    def _head_row(self, log_id: str) -> Head:
        rows = self._clickhouse.rows(
            "SELECT next_offset, size, arrayMap(x -> hex(x), frontier) FROM ledger_heads"
            " WHERE log_id = {log_id:String} ORDER BY next_offset DESC LIMIT 1",
            {"log_id": log_id},
        )
        if not rows:
            return Head(log_id)
        next_offset, size, frontier = rows[0]
        return Head(log_id, next_offset, size, tuple(bytes.fromhex(node) for node in frontier))

    def _entries(self, log_id: str, first_offset: int) -> list[tuple[int, int, bytes]]:
        rows = self._clickhouse.rows(
            f"SELECT offset, leaf_index, hex(leaf_hash) FROM {self.table}"
            " WHERE log_id = {log_id:String} AND offset >= {offset:UInt64} ORDER BY offset LIMIT {limit:UInt64}",
            {"log_id": log_id, "offset": first_offset, "limit": _PAGE_ROWS},
        )
        return [(offset, leaf_index, bytes.fromhex(leaf_hash)) for offset, leaf_index, leaf_hash in rows]
