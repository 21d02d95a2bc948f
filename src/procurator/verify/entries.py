"""Whole entries against their leaves, and their typed columns against what the bytes say. Pure.

Rows come in the order of their table's key, which is what lets repeats be judged with one session in memory.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

import pyarrow as pa

from procurator.leaf import LeafError, entry_leaf_hash, leaf_data_of_digest
from procurator.merkle import leaf_hash
from procurator.verify.late_schemas import LateSchemas
from procurator.verify.multiset import LeafSet
from procurator.verify.ranges import RangeSpool
from procurator.verify.report import Report
from procurator.verify.source import Bounds

#: The columns that make the leaf; the others are derived.
ENTRY_COLUMNS = ("log_id", "offset", "leaf_index", "leaf_hash", "broker_time", "key", "value")

#: Texts of people: an erased entry shows none. Its other columns cannot be judged without its bytes.
BODIES = frozenset({"content", "thinking", "error_message", "reason"})

Columns = Mapping[str, Any]
#: (log id, leaf index) → words for the last checkpoint before that leaf was signed.
Since = Callable[[str, int], str]


class Derive(Protocol):
    """The sink's own derivation: the columns beside `ENTRY_COLUMNS` of records of one log, by ascending offset."""

    def __call__(
        self,
        log_id: str,
        offsets: Sequence[int],
        broker_times_us: Sequence[int],
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
    ) -> Columns: ...


@dataclass(frozen=True)
class Derivation:
    """What derives a table's columns: ``derive`` with the recorded schemas, ``blind`` without any."""

    derive: Derive
    blind: Derive
    late_schemas: LateSchemas


class EntryAudit:
    """Feed it pages of one table. ``bounds``: leaves [first, end) that are judged, by log."""

    def __init__(
        self,
        table: str,
        derivation: Derivation,
        bounds: Mapping[str, Bounds],
        ranges: RangeSpool,
        since: Since,
        report: Report,
    ) -> None:
        self.leaves: dict[str, LeafSet] = {}
        self._table = table
        self._derivation = derivation
        self._bounds = bounds
        self._ranges = ranges
        self._since = since
        self._report = report

    def feed(self, page: Any) -> None:
        """Take a page (an Arrow table of whole rows)."""
        by_log: dict[str, list[int]] = {}
        log_ids = [log_id.decode() for log_id in page.column("log_id").to_pylist()]
        indexes = page.column("leaf_index").to_pylist()
        for row, (log_id, index) in enumerate(zip(log_ids, indexes, strict=True)):
            first, end = self._bounds.get(log_id, (0, 0))
            if first <= index < end:
                by_log.setdefault(log_id, []).append(row)
        for log_id, rows in by_log.items():
            self._judge(log_id, page if len(rows) == page.num_rows else page.take(rows))

    def _judge(self, log_id: str, part: Any) -> None:
        offsets, indexes, hashes, times, keys, values = (
            part.column(name).to_pylist()
            for name in ("offset", "leaf_index", "leaf_hash", "broker_time_us", "key", "value")
        )
        erased = {
            row for row, value in enumerate(values) if value is None and self._ranges.is_erased(log_id, indexes[row])
        }
        for row, stored in enumerate(hashes):
            try:
                place = log_id, indexes[row], offsets[row], times[row], keys[row]
                digest = part.column("value_sha256")[row].as_py() if row in erased else None
                leaf = erased_leaf_hash(*place, digest) if row in erased else entry_leaf_hash(*place, values[row])
            except LeafError:
                leaf = b""
            if leaf != stored:
                where = self._where(log_id, offsets[row], indexes[row], part, row)
                message = "the stored leaf hash is not that of the stored entry"
                self._report.tampered("leaf_differs", where, message, self._since(log_id, indexes[row]))
        self.leaves.setdefault(log_id, LeafSet()).add(zip(indexes, offsets, hashes, strict=True))
        self._report.counts["entries"] += len(hashes)
        self._report.counts["entries_erased"] += len(erased)
        for name in BODIES & set(part.column_names) if erased else ():
            shown = part.column(name)
            for row in sorted(erased):
                if shown[row].as_py() is not None:
                    where = self._where(log_id, offsets[row], indexes[row], part, row)
                    self._report.tampered("erased_entry_shows", where, f"column {name} of an erased entry has a text")
        expected = self._derive(log_id, part, (offsets, times, keys, values))
        unread: set[int] = set()
        for name, column in expected.items():
            for row in differing(column, part.column(name)):
                where = self._where(log_id, offsets[row], indexes[row], part, row)
                if name == "flags" and self._lost_its_past(expected, part, row):
                    self._report.counts["flags_not_judged"] += 1
                elif self._derivation.late_schemas.is_unrecorded(values[row]):
                    if row not in unread:
                        message = "its columns show more than its bytes, whose schema the control log does not have"
                        self._report.cannot_tell("schema_unrecorded", where, message)
                    unread.add(row)
                elif row not in erased:
                    shown = f"column {name} is {_shown(part.column(name)[row])}, its bytes say {_shown(column[row])}"
                    self._report.tampered("column_differs", where, shown, self._since(log_id, indexes[row]))

    def _derive(self, log_id: str, part: Any, columns: tuple[list[Any], ...]) -> Columns:
        """Derive the columns of rows; those rejected before their schema was there as if it still was not."""
        ways = self._derivation
        early = ways.late_schemas.rejected_before(part, columns[1], columns[3], self._report)
        if not early:
            return ways.derive(log_id, *columns)
        others = [row for row in range(part.num_rows) if row not in early]
        order = sorted(range(part.num_rows), key=lambda at: [*early, *others][at])
        first, second = (
            derive(log_id, *([column[row] for row in rows] for column in columns))
            for derive, rows in ((ways.blind, early), (ways.derive, others))
        )
        return {name: pa.concat_arrays([first[name], second[name]]).take(order) for name in first}

    def _lost_its_past(self, expected: Columns, part: Any, row: int) -> bool:
        """Whether a row only says that it repeats an entry that may have been purged: that can no longer be told."""
        says = {_text(flag) for flag in part.column("flags")[row].as_py()}
        derived = {_text(flag) for flag in expected["flags"][row].as_py()}
        if says - derived != {"repeated"} or "session_id" not in expected:
            return False
        session_id = expected["session_id"][row].as_py()
        name = str(UUID(bytes=session_id) if isinstance(session_id, bytes) else session_id)
        return self._ranges.has_purged(name)

    def _where(self, log_id: str, offset: int, index: int, part: Any, row: int) -> str:
        where = f"{self._table} log {log_id} offset {offset} leaf {index}"
        event_id = part.column("event_id")[row].as_py()
        return f"{where} event {event_id}" if event_id else where


def erased_leaf_hash(
    log_id: str, leaf_index: int, offset: int, broker_time_us: int, key: bytes | None, value_sha256: bytes | None
) -> bytes:
    """Return the leaf hash of an entry of which only its value's digest is left."""
    return leaf_hash(leaf_data_of_digest(log_id, leaf_index, offset, broker_time_us, key, value_sha256))


def differing(expected: Any, actual: Any) -> list[int]:
    """Return the rows in which two columns differ; ``actual`` as ClickHouse gives it, ``expected`` as we made it."""
    actual = actual.combine_chunks() if isinstance(actual, pa.ChunkedArray) else actual
    if isinstance(actual, pa.ChunkedArray):
        actual = pa.concat_arrays(actual.chunks)
    actual, expected = _plain(actual), _plain(expected)
    if expected.type != actual.type:
        expected = expected.cast(actual.type)
    if expected.equals(actual):
        return []
    return [
        row
        for row, (left, right) in enumerate(zip(expected.to_pylist(), actual.to_pylist(), strict=True))
        if left != right
    ]


def _plain(column: Any) -> Any:
    """Return a column without dictionaries and extension types."""
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type):
        return column.cast(pa.binary())
    if pa.types.is_list(column.type):
        return column.cast(pa.list_(pa.binary()))
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.int64())
    return column


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _shown(value: Any) -> str:
    text = repr(value.as_py())
    return text if len(text) <= 60 else f"{text[:57]}…"
