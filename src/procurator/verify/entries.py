"""Whole entries against their leaves, and their typed columns against what the bytes say. Pure.

Rows come in the order of their table's key, which is what lets repeats be judged with one session in memory.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa

from procurator.leaf import LeafError, entry_leaf_hash
from procurator.verify.multiset import LeafSet
from procurator.verify.report import Report

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


class EntryAudit:
    """Feed it pages of one table. ``signed``: leaves that were signed, by log; others are not judged."""

    def __init__(
        self,
        table: str,
        derive: Derive,
        signed: Mapping[str, int],
        erased: Mapping[str, Sequence[tuple[int, int]]],
        since: Since,
        report: Report,
    ) -> None:
        self.leaves: dict[str, LeafSet] = {}
        self._table = table
        self._derive = derive
        self._signed = signed
        self._erased = erased
        self._since = since
        self._report = report

    def feed(self, page: Any) -> Mapping[str, list[Any]]:
        """Take a page (an Arrow table of whole rows); return whose sequence numbers were judged, in its order."""
        by_log: dict[str, list[int]] = {}
        log_ids = [log_id.decode() for log_id in page.column("log_id").to_pylist()]
        indexes = page.column("leaf_index").to_pylist()
        for row, (log_id, index) in enumerate(zip(log_ids, indexes, strict=True)):
            if index < self._signed.get(log_id, 0):
                by_log.setdefault(log_id, []).append(row)
        derived: dict[str, dict[int, Any]] = {name: {} for name in _WANTED}
        for log_id, rows in by_log.items():
            part = page if len(rows) == page.num_rows else page.take(rows)
            expected = self._judge(log_id, part)
            for name in _WANTED & expected.keys():
                derived[name].update(zip(rows, expected[name].to_pylist(), strict=True))
        judged = sorted(row for rows in by_log.values() for row in rows)
        return {name: [values[row] for row in judged] for name, values in derived.items() if values}

    def _judge(self, log_id: str, part: Any) -> Columns:
        offsets, indexes, hashes, times, keys, values = (
            part.column(name).to_pylist()
            for name in ("offset", "leaf_index", "leaf_hash", "broker_time_us", "key", "value")
        )
        erased = set()
        for row, stored in enumerate(hashes):
            try:
                leaf = entry_leaf_hash(log_id, indexes[row], offsets[row], times[row], keys[row], values[row])
            except LeafError:
                leaf = b""
            if leaf == stored:
                continue
            if values[row] is None and self._is_erased(log_id, indexes[row]):
                erased.add(row)
            else:
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
        expected = self._derive(log_id, offsets, times, keys, values)
        for name, column in expected.items():
            for row in differing(column, part.column(name)):
                if row not in erased:
                    where = self._where(log_id, offsets[row], indexes[row], part, row)
                    shown = f"column {name} is {_shown(part.column(name)[row])}, its bytes say {_shown(column[row])}"
                    self._report.tampered("column_differs", where, shown, self._since(log_id, indexes[row]))
        return expected

    def _is_erased(self, log_id: str, index: int) -> bool:
        return any(first <= index < end for first, end in self._erased.get(log_id, ()))

    def _where(self, log_id: str, offset: int, index: int, part: Any, row: int) -> str:
        where = f"{self._table} log {log_id} offset {offset} leaf {index}"
        event_id = part.column("event_id")[row].as_py()
        return f"{where} event {event_id}" if event_id else where


_WANTED = frozenset({"session_id", "emitter_id", "sequence"})


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


def _shown(value: Any) -> str:
    text = repr(value.as_py())
    return text if len(text) <= 60 else f"{text[:57]}…"
