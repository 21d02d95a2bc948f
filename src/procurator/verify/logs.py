"""One log's leaves, in the order of the log, against the heads that were signed of it. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from procurator.merkle import Accumulator, perfect_ranges
from procurator.verify.control import PurgedRange
from procurator.verify.multiset import LeafSet
from procurator.verify.report import Report


class SignedHead(NamedTuple):
    """A head in an epoch, and words for the last checkpoint before that epoch."""

    size: int
    root: bytes
    since: str


class LogAudit:
    """Feed it leaves by ascending offset, then call `finish`. ``heads`` ascend in size."""

    def __init__(
        self, where: str, heads: Iterable[SignedHead], purged: Sequence[PurgedRange], signed_size: int, report: Report
    ) -> None:
        self.leaves = LeafSet()
        self.present = 0
        self._where = where
        self._heads: Iterator[SignedHead] = iter(heads)
        self._head = next(self._heads, None)
        self._purged = {each.first: each for each in purged}
        self._signed_size = signed_size
        self._report = report
        self._tree = Accumulator()
        self._good_size = 0
        self._next = 0
        self._last_offset = -1
        self._broken = False

    def feed(self, offsets: Sequence[int], indexes: Sequence[int], hashes: Sequence[bytes]) -> None:
        """Take the next leaves; those beyond the last signed head are counted, not judged."""
        dense = list(indexes) == list(range(self._next, self._next + len(indexes)))
        ascending = all(a < b for a, b in pairwise((self._last_offset, *offsets)))
        if not dense or not ascending:
            self._one_by_one(offsets, indexes, hashes)
            return
        signed = min(len(indexes), self._signed_size - self._next)
        self._report.counts["entries_unsigned"] += len(indexes) - signed
        if signed:
            self._take(offsets[:signed], hashes[:signed])

    def _one_by_one(self, offsets: Sequence[int], indexes: Sequence[int], hashes: Sequence[bytes]) -> None:
        for offset, index, leaf_hash in zip(offsets, indexes, hashes, strict=True):
            place = f"{self._where} offset {offset}"
            if index >= self._signed_size:
                self._report.counts["entries_unsigned"] += 1
            elif offset <= self._last_offset:
                self._report.tampered("duplicated", place, f"a second entry at one offset, leaf {index}", self._since())
            elif index < self._next:
                self._report.tampered("inserted", place, f"leaf {index} stands before it already", self._since())
            else:
                if index > self._next:
                    self._skip_to(index)
                self._take([offset], [leaf_hash])

    def _take(self, offsets: Sequence[int], hashes: Sequence[bytes]) -> None:
        first = self._next
        self.leaves.add(zip(range(first, first + len(hashes)), offsets, hashes, strict=True))
        self.present += len(hashes)
        skipped = offsets[-1] - self._last_offset - len(offsets)
        if skipped:
            self._report.counts["offsets_without_entry"] += skipped
        self._last_offset = offsets[-1]
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

    def _skip_to(self, index: int) -> None:
        """Pass over leaves that are not there: those of recorded purges by their hashes, others are missing."""
        while self._next < index:
            purge = self._purged.get(self._next)
            if purge is None or purge.end > index:
                where = f"{self._where} leaves {self._next} to {index - 1}"
                message = "entries are gone without a record of a purge"
                self._report.tampered("missing", where, message, self._since())
                self._broken, self._next = True, index
                return
            self._skip_purged(purge)

    def _skip_purged(self, purge: PurgedRange) -> None:
        ranges = perfect_ranges(purge.first, purge.end)
        self._report.counts["entries_purged"] += purge.end - purge.first
        if len(purge.retained) != len(ranges):
            where = f"{self._where} leaves {purge.first} to {purge.end - 1}"
            self._report.cannot_tell("retained_hashes", where, "the purge kept no hashes to go on from")
            self._broken = True
        for (start, end), root in zip(ranges, purge.retained, strict=False):
            if not self._broken:
                self._skip_heads_within(end)
                self._tree.append_subtree((end - start).bit_length() - 1, root)
            self._next = end
            self._compare()
        self._next = purge.end

    def _skip_heads_within(self, end: int) -> None:
        while self._head is not None and self._head.size < end:  # inside a purged subtree: nothing to compare
            self._head = next(self._heads, None)

    def _since(self) -> str:
        return self._head.since if self._head is not None else ""

    def finish(self) -> None:
        """Judge what is left when the leaves have ended."""
        while self._next < self._signed_size and (purge := self._purged.get(self._next)):
            self._skip_purged(purge)
        if self._next < self._signed_size:
            where = f"{self._where} leaves {self._next} to {self._signed_size - 1}"
            message = f"{self._signed_size} entries were signed, the last of them are gone"
            self._report.tampered("cut_off", where, message, self._since())
        self._report.counts["leaves"] += self.present
