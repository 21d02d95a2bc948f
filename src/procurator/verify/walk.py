"""IO: the logs and their tables, slice by slice, against the heads that were signed."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from procurator.verify.control import ControlAudit
from procurator.verify.entries import Derivation, Derive, EntryAudit
from procurator.verify.late_schemas import LateSchemas, no_schema
from procurator.verify.logs import AT_THE_START, LogAudit, SignedHead
from procurator.verify.multiset import LeafSet
from procurator.verify.positions import LogPosition, Position
from procurator.verify.report import Report
from procurator.verify.source import Bounds, Leaves
from procurator.verify.spool import HeadSpool

if TYPE_CHECKING:
    from procurator.verify.ledger import Ask, LedgerCheck


class _LogWalk:
    """One log's leaves, taken slice by slice."""

    def __init__(self, audit: LogAudit, pages: Iterator[Leaves], verified_to: int) -> None:
        self.audit = audit
        self.verified_to = verified_to
        self._pages = pages
        self._page = Leaves([], [], [])

    def advance(self, end: int) -> None:
        """Take the leaves up to the first whose index is not below ``end``."""
        while True:
            offsets, indexes, hashes = self._page
            stop = next((at for at, index in enumerate(indexes) if index >= end), len(indexes))
            self.audit.feed(offsets[:stop], indexes[:stop], hashes[:stop])
            self._page = Leaves(offsets[stop:], indexes[stop:], hashes[stop:])
            if stop < len(indexes) or (page := next(self._pages, None)) is None:
                return
            self._page = page

    def finish(self) -> None:
        """Take all that is left."""
        for page in (self._page, *self._pages):
            self.audit.feed(*page)
        self.audit.finish()


class Walk:
    """The logs, and the tables beside them, slice by slice."""

    def __init__(self, check: "LedgerCheck", control: ControlAudit, spool: HeadSpool, report: Report) -> None:
        self._check = check
        self._control = control
        self._spool = spool
        self._report = report
        self._topics = {head.log_id: head.topic for head in control.heads.values()}
        self._start = check.start or Position(check.origin)
        self._schemas = LateSchemas(control.schemas)
        self._logs: dict[str, _LogWalk] = {}
        for log_id in sorted(self._topics):
            if self._topics[log_id] in check.tables:
                start = self._start.logs.get(log_id, AT_THE_START)
                pages = self._pages(log_id, start.last_offset + 1)
                self._logs[log_id] = _LogWalk(self._audit(log_id, report, start), pages, start.verified_to)
            else:
                topic = self._topics[log_id]
                report.cannot_tell("unknown_topic", f"log {log_id}", f"topic {topic} has no table here")

    def strangers(self) -> None:
        """Report rows of logs that were never signed, or that stand in another log's table."""
        check, report = self._check, self._report
        for table in sorted(set(check.tables.values())):
            for log_id, count in check.source.log_ids(table).items():
                topic = self._topics.get(log_id)
                if topic is None:
                    report.counts["entries_of_unsigned_logs"] += count
                    report.cannot_tell(
                        "unsigned_log", f"{table} log {log_id}", f"{count} entries of a log never signed"
                    )
                elif check.tables.get(topic) != table:
                    message = f"{count} entries of a log of topic {topic}"
                    report.tampered("transplanted", f"{table} log {log_id}", message)

    def slices(self) -> Iterator[Position]:
        """Verify slice by slice; yield the position after each."""
        control_size = self._start.control_size
        while control_size < self._control.signed_size:
            control_size = self._slice_end(control_size)
            last = control_size == self._control.signed_size
            before = {log_id: log.audit.leaves.total for log_id, log in self._logs.items()}
            bounds = {}
            for log_id, log in self._logs.items():
                end = self._spool.size_at(log_id, control_size)
                self._check.progress(f"tree of {log_id}", log.audit.present, self._signed(log_id))
                log.advance(end)
                if last:
                    log.finish()
                bounds[log_id], log.verified_to = (log.verified_to, end), end
            for table in sorted(set(self._check.tables.values())):
                self._entries(table, bounds, before)
            yield self._position(control_size)

    def finish(self) -> None:
        """Judge the ends of the logs when there was no slice to do so."""
        if self._start.control_size >= self._control.signed_size:
            for log in self._logs.values():
                log.finish()

    def _slice_end(self, control_size: int) -> int:
        """Return the size of the control log at which the next slice ends: the last that has not too many entries."""
        done, low, high = self._entries_at(control_size), control_size + 1, self._control.signed_size
        while low < high:
            middle = (low + high + 1) // 2
            if self._entries_at(middle) - done <= self._check.slice_entries:
                low = middle
            else:
                high = middle - 1
        return low

    def _entries_at(self, control_size: int) -> int:
        return sum(self._spool.size_at(log_id, control_size) for log_id in self._logs)

    def _signed(self, log_id: str) -> int:
        # Heads that no checkpoint covers are not signed yet: what they say binds nobody.
        return self._spool.size_at(log_id, self._control.signed_size)

    def _position(self, control_size: int) -> Position:
        note = self._control.note_at(self._control.signed_size)
        logs = {log_id: log.audit.position(log.verified_to) for log_id, log in self._logs.items()}
        return Position(self._check.origin, control_size, note, logs)

    def _audit(self, log_id: str, report: Report, start: LogPosition) -> LogAudit:
        heads = (
            SignedHead(head.size, head.root, self._since(head.control_index))
            for head in self._spool.heads(log_id)
            if head.control_index < self._control.signed_size and head.size > start.size
        )
        where = f"{self._table(log_id)} log {log_id}"
        purged = self._control.ranges.purged(log_id, start.size)
        return LogAudit(where, heads, purged, self._signed(log_id), report, start)

    def _pages(self, log_id: str, first_offset: int) -> Iterator[Leaves]:
        for page in self._check.source.leaves(self._table(log_id), log_id, first_offset):
            yield page
            log = self._logs[log_id]
            self._check.progress(f"tree of {log_id}", log.audit.present, self._signed(log_id))

    def _table(self, log_id: str) -> str:
        return self._check.tables[self._topics[log_id]]

    def _since(self, control_index: int) -> str:
        size = self._control.before(control_index)
        return f"after the checkpoint of size {size}" if size else "before any checkpoint"

    def _since_leaf(self, log_id: str, index: int) -> str:
        head = self._spool.covering(log_id, index)
        return self._since(head.control_index) if head else ""

    def _entries(self, table: str, bounds: Mapping[str, Bounds], before: Mapping[str, int]) -> None:
        """Compare the rows of a table within ``bounds``; ``before``: each log's leaf set when the slice began."""
        bounds = {log_id: each for log_id, each in bounds.items() if self._table(log_id) == table}
        audit = EntryAudit(
            table, self._derivation(bounds), bounds, self._control.ranges, self._since_leaf, self._report
        )
        done, total = 0, sum(end - first for first, end in bounds.values())
        for page in self._check.source.entries(table, bounds):
            audit.feed(page)
            done += page.num_rows
            self._check.progress(f"entries of {table}", done, total)
        for log_id in bounds:
            if audit.leaves.get(log_id, LeafSet()).total != self._logs[log_id].audit.leaves.since(before[log_id]):
                self._report_difference(table, log_id)

    def _derivation(self, bounds: Mapping[str, Bounds]) -> Derivation:
        def ask(log_id: str, session_ids: Sequence[str]) -> Mapping[str, Mapping[str, Iterable[int]]]:
            first = bounds[log_id][0]
            return self._check.source.sequences(log_id, session_ids, first) if first else {}

        make = self._check.derive or _nothing_of
        derive = make(self._schemas.fetch, self._topics, ask)
        return Derivation(derive, make(no_schema, self._topics, ask), self._schemas)

    def _report_difference(self, table: str, log_id: str) -> None:
        """Say that the two readings of a log differ, and what the rows themselves show."""
        message = "the table's rows are not those that its projection shows"
        self._report.tampered("entries_differ", f"{table} log {log_id}", message)
        rows = Report()
        audit = self._audit(log_id, rows, AT_THE_START)
        for page in self._check.source.leaves(table, log_id, from_rows=True):
            audit.feed(*page)
        audit.finish()
        for finding in rows.findings:
            self._report.add(finding)


def _nothing_of(_fetch: Callable[[int], str], _topics: Mapping[str, str], _ask: "Ask") -> Derive:
    return lambda *_: {}
