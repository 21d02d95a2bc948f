"""One log's leaves, in the order of the log, against the heads that were signed of it. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from procurator.merkle import perfect_ranges, root_hash
from procurator.verify.multiset import LeafSet
from procurator.verify.positions import LogPosition
from procurator.verify.ranges import PurgedRange
from procurator.verify.report import Report

AT_THE_START = LogPosition()


class SignedHead(NamedTuple):
    """A head in an epoch, and words for the last checkpoint before that epoch."""

    size: int
    root: bytes
    since: str


class LogAudit:
    """Feed it leaves by ascending offset, then call `finish`. ``heads`` and ``purged`` ranges ascend."""

    def __init__(
        self,
        where: str,
        heads: Iterable[SignedHead],
        purged: Iterable[PurgedRange],
        signed_size: int,
        report: Report,
        start: LogPosition = AT_THE_START,
    ) -> None:
        self.leaves = LeafSet()
        self.present = 0
        self._where = where
        self._heads: Iterator[SignedHead] = iter(heads)
        self._head = next(self._heads, None)
        self._purges: Iterator[PurgedRange] = iter(purged)
        self._purge = next(self._purges, None)
        #: Leaves of the purge at hand that are there all the same.
        self._lingering: dict[int, bytes] = {}
        self._signed_size = signed_size
        self._report = report
        self._tree = start.tree()
        self._good_size = self._next = self._after = start.size
        self._last_offset = start.last_offset
        self._broken = False

    def position(self, verified_to: int) -> LogPosition:
        """Return where this log stands, to go on from there later."""
        return LogPosition(self._next, tuple(self._tree.frontier()), self._last_offset, verified_to)

    def feed(self, offsets: Sequence[int], indexes: Sequence[int], hashes: Sequence[bytes]) -> None:
        """Take the next leaves; those beyond the last signed head are counted, not judged."""
        at = 0
        while at < len(indexes):
            run = self._run(offsets, indexes, at)
            if run:
                self._take(offsets[at : at + run], hashes[at : at + run])
            else:
                self._take_odd(offsets[at], indexes[at], hashes[at])
            at += run or 1

    def _run(self, offsets: Sequence[int], indexes: Sequence[int], at: int) -> int:
        """Return how many leaves from ``at`` on stand where they belong, none of them of a purged range."""
        until = self._signed_size if self._purge is None else min(self._signed_size, self._purge.first)
        end = min(len(indexes), at + max(0, until - self._next))
        now, index, offset = at, self._next, self._last_offset
        while now < end and indexes[now] == index and offsets[now] > offset:
            offset = offsets[now]
            now, index = now + 1, index + 1
        return now - at

    def _take_odd(self, offset: int, index: int, leaf_hash: bytes) -> None:
        place = f"{self._where} offset {offset}"
        if index >= self._signed_size:
            self._report.counts["entries_unsigned"] += 1
        elif offset <= self._last_offset:
            self._report.tampered("duplicated", place, f"a second entry at one offset, leaf {index}", self._since())
        elif index < max(self._next, self._after):
            self._report.tampered("inserted", place, f"leaf {index} stands before it already", self._since())
        else:
            self._skip_to(index)
            if self._purge is not None and self._purge.first <= index:
                self._linger(offset, index, leaf_hash)
            else:
                self._take([offset], [leaf_hash])

    def _take(self, offsets: Sequence[int], hashes: Sequence[bytes]) -> None:
        self._count(self._next, offsets, hashes)
        done = 0
        while self._head is not None and not self._broken and self._head.size - self._next <= len(hashes) - done:
            step = self._head.size - self._next
            self._grow(hashes[done : done + step])
            done += step
            self._compare()
        self._grow(hashes[done:])

    def _grow(self, hashes: Sequence[bytes]) -> None:
        self._next += len(hashes)
        if not self._broken:
            self._tree.extend(list(hashes))

    def _compare(self) -> None:
        head = self._head
        if head is None or head.size != self._next or self._broken:
            return
        if self._tree.root() != head.root:
            where = f"{self._where} leaves {self._good_size} to {head.size - 1}"
            self._report.tampered("tree_differs", where, "their root is not the signed one", head.since)
            self._broken = True
        else:
            self._good_size = head.size
        self._head = next(self._heads, None)

    def _count(self, first: int, offsets: Sequence[int], hashes: Sequence[bytes]) -> None:
        self.leaves.add(zip(range(first, first + len(hashes)), offsets, hashes, strict=True))
        self.present += len(hashes)
        skipped = offsets[-1] - self._last_offset - len(offsets)
        if skipped:
            self._report.counts["offsets_without_entry"] += skipped
        self._last_offset = offsets[-1]

    def _linger(self, offset: int, index: int, leaf_hash: bytes) -> None:
        """Take a leaf of a purged range: its tree grows by the retained hashes, once the range has ended."""
        self._count(index, [offset], [leaf_hash])
        self._lingering[index] = leaf_hash
        self._after = index + 1

    def _skip_to(self, index: int) -> None:
        """Pass over leaves that are not there: those of signed purges by their hashes, others are missing."""
        while self._purge is not None and self._purge.end <= index:
            self._miss(self._purge.first)
            self._skip_purge()
        self._miss(index if self._purge is None else min(index, self._purge.first))

    def _miss(self, until: int) -> None:
        if self._next < until:
            where = f"{self._where} leaves {self._next} to {until - 1}"
            message = "entries are gone without a record of a purge"
            self._report.tampered("missing", where, message, self._since())
            self._broken, self._next = True, until

    def _skip_purge(self) -> None:
        """Pass over the range of the purge at hand; go on to the next that begins where leaves are still to come."""
        purge, lingering = self._purge, self._lingering
        assert purge is not None
        where = f"{self._where} leaves {purge.first} to {purge.end - 1}"
        self._report.counts["entries_purged"] += purge.end - purge.first - len(lingering)
        if lingering and purge.completed:
            message = f"{len(lingering)} entries are back although a signed purge has removed them"
            self._report.tampered("resurrected", where, message, self._since())
        elif lingering:
            self._report.incomplete("purge_not_carried_out", where, len(lingering))
        ranges = perfect_ranges(purge.first, purge.end)
        if len(purge.retained) != len(ranges):
            self._report.cannot_tell("retained_hashes", where, "the purge kept no hashes to go on from")
            self._broken = True
        for (start, end), root in zip(ranges, purge.retained, strict=False):
            there = [lingering[index] for index in range(start, end) if index in lingering] if lingering else []
            if len(there) == end - start and root_hash(there) != root:
                self._report.tampered("tree_differs", where, "their root is not the retained one", self._since())
            if not self._broken:
                self._skip_heads_within(end)
                self._tree.append_subtree((end - start).bit_length() - 1, root)
            self._next = end
            self._compare()
        self._next = purge.end
        self._lingering = {}
        while self._purge is not None and self._purge.first < self._next:
            self._purge = next(self._purges, None)

    def _skip_heads_within(self, end: int) -> None:
        while self._head is not None and self._head.size < end:  # inside a purged subtree: nothing to compare
            self._head = next(self._heads, None)

    def _since(self) -> str:
        return self._head.since if self._head is not None else ""

    def finish(self) -> None:
        """Judge what is left when the leaves have ended."""
        while self._purge is not None and self._purge.end <= self._signed_size and self._purge.first <= self._next:
            self._skip_purge()
        if self._next < self._signed_size:
            where = f"{self._where} leaves {self._next} to {self._signed_size - 1}"
            message = f"{self._signed_size} entries were signed, the last of them are gone"
            self._report.tampered("cut_off", where, message, self._since())
        self._report.counts["leaves"] += self.present
