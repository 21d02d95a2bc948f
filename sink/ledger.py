"""Where a log's ledger ends, and what follows from it. Pure.

The *head* is what stands in the ledger: the last row of ``ledger_heads`` and the entries after it. A block of entries
is inserted with the token *log id and first offset*, which makes the insert a compare-and-set on the expected head:

- every block starts at a head that was read from the ledger, and of two blocks that start at one head the server
  takes the first and drops the other whole, whatever their ends; so blocks form a chain and no entry stands twice;
- the token must not name the block's end: writers that fetched different numbers of records would both get through;
- a block belongs to one table partition (one day of broker time), since the server keeps tokens for each partition,
  and the record at a given offset has one broker time;
- the server remembers a bounded number of tokens, so a block carries a deadline by the server's own clock
  (`HEAD_AGE_US_MAX` after its head was read) and is refused when it comes later, however long its sender slept.

What follows an insert is never assumed: the head is read back, and `landed` decides.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from procurator.errors import Fatal
from procurator.merkle import Accumulator

#: An insert that reaches the server later than this after its head was read is refused.
HEAD_AGE_US_MAX = 10_000_000
DAY_US = 86_400_000_000


@dataclass(frozen=True)
class Log:
    """One partition of a ledgered topic, as it was when it was assigned."""

    topic: str
    partition: int
    log_id: str
    #: Of the topic: a record's right place depends on it.
    partitions: int


@dataclass(frozen=True)
class Head:
    """The end of a log's ledger: the offset that comes next, the number of leaves, the tree over them."""

    log_id: str
    next_offset: int = 0
    size: int = 0
    frontier: tuple[bytes, ...] = ()

    @property
    def token(self) -> str:
        """The deduplication token of what follows this head. A log id has no ``@``, so nothing else has this token."""
        return f"{self.log_id}@{self.next_offset}"

    @property
    def root(self) -> bytes:
        return self._tree().root()

    def extended(self, leaf_hashes: Sequence[bytes], next_offset: int) -> "Head":
        """Return the head after these leaves. Raises ValueError when it would not be further on."""
        if next_offset < self.next_offset + len(leaf_hashes):
            raise ValueError(f"{len(leaf_hashes)} entries from offset {self.next_offset} cannot end at {next_offset}")
        tree = self._tree()
        tree.extend(leaf_hashes)
        return Head(self.log_id, next_offset, tree.size, tuple(tree.frontier()))

    def moved_to(self, next_offset: int) -> "Head":
        """Return the head after a gap: further on in Kafka, the same tree."""
        return replace(self, next_offset=next_offset)

    def _tree(self) -> Accumulator:
        return Accumulator.from_frontier(self.size, self.frontier)


@dataclass(frozen=True)
class Tail:
    """What a query found of a log at and after an offset: how many entries, and the last of them."""

    entries: int
    next_offset: int
    size: int
    last_leaf_hash: bytes


NO_TAIL = Tail(0, 0, 0, b"")


def landed(after: Head, last_leaf_hash: bytes, entries: int, found: Tail) -> bool:
    """Tell whether the ledger, read back from a block's first offset on, ends as it should with that block.

    If so the block stands there, whoever wrote it: the same records have the same leaves, and the last leaf binds
    its index and offset. If not, another writer was first: go on from what stands there.
    """
    return found == Tail(entries, after.next_offset, after.size, last_leaf_hash)


def checked_chain(head: Head, entries: Iterable[tuple[int, int, bytes]]) -> Head:
    """Return ``head`` extended by ledger entries (offset, leaf index, leaf hash) that follow it, by offset.

    Raises Fatal when they are no continuation: the ledger has been damaged, and writing on would hide it.
    """
    hashes = []
    next_offset, size = head.next_offset, head.size
    for offset, leaf_index, leaf_hash in entries:
        if offset < next_offset or leaf_index != size:
            raise Fatal(
                f"log {head.log_id}: entry at offset {offset} has leaf {leaf_index} where leaf {size} belongs;"
                " the ledger was changed from outside"
            )
        hashes.append(leaf_hash)
        next_offset, size = offset + 1, size + 1
    return head.extended(hashes, next_offset)


@dataclass(frozen=True)
class Gap:
    """Offsets [first, next) that Kafka no longer has and the ledger never got. They have no leaf."""

    log_id: str
    first_offset: int
    next_offset: int


def gap_before(head: Head, log_start: int, log_end: int) -> Gap | None:
    """Return what was lost between the ledger's head and what Kafka has, which is [log_start, log_end).

    Raises Fatal when Kafka ends below the head: it has lost records that the ledger holds.
    """
    if log_end < head.next_offset:
        raise Fatal(
            f"log {head.log_id}: Kafka ends at offset {log_end}, the ledger at {head.next_offset}:"
            " Kafka lost records that the ledger has; restore them or recreate the topic"
        )
    return Gap(head.log_id, head.next_offset, log_start) if log_start > head.next_offset else None


def same_day(broker_times_us: Sequence[int]) -> int:
    """Return how many of the first records belong into one table partition: one UTC day of broker time."""
    if not broker_times_us:
        return 0
    day = broker_times_us[0] // DAY_US
    if broker_times_us[-1] // DAY_US == day and min(broker_times_us) // DAY_US == day == max(broker_times_us) // DAY_US:
        return len(broker_times_us)
    return sum(1 for _ in takewhile(lambda time_us: time_us // DAY_US == day, broker_times_us))
