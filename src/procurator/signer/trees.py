"""One log's tree as the signer grows it from Kafka's records, held to what was signed before. Pure."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from procurator.control_entries import Head
from procurator.errors import Fatal
from procurator.leaf import leaf_hashes
from procurator.merkle import Accumulator


class Inconsistent(Fatal):
    """What Kafka has is not what was signed. Nothing may be signed until somebody has found out why."""


class Record(NamedTuple):
    """A record as it stands in Kafka."""

    offset: int
    broker_time_us: int
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Promise:
    """What the tree must be once it has ``size`` leaves; ``source`` says who promised it."""

    size: int
    root: bytes
    source: str


class LogTree:
    """The tree of one log and the promises it has still to keep."""

    def __init__(self, log_id: str, topic: str, accumulator: Accumulator | None = None, next_offset: int = 0) -> None:
        self.log_id = log_id
        self.topic = topic
        self.next_offset = next_offset
        self._accumulator = accumulator or Accumulator()
        self._promises: deque[Promise] = deque()

    @property
    def size(self) -> int:
        """Leaves so far."""
        return self._accumulator.size

    @property
    def frontier(self) -> list[bytes]:
        """The roots of the tree's perfect subtrees, largest first."""
        return self._accumulator.frontier()

    @property
    def head(self) -> Head:
        """The head of what was read so far."""
        return Head(self.log_id, self.topic, self.size, self.next_offset, self._accumulator.root())

    @property
    def open_promise(self) -> Promise | None:
        """The next promise that the records so far do not reach."""
        return self._promises[0] if self._promises else None

    def promise(self, promise: Promise) -> None:
        """Hold the tree to ``promise``. Sizes must not fall; Inconsistent when it is broken already."""
        latest = self._promises[-1].size if self._promises else self.size
        if promise.size < latest:
            raise Inconsistent(
                f"log {self.log_id}: {promise.source} says {promise.size} entries, but {latest} were signed before"
            )
        self._promises.append(promise)
        self._keep()

    def extend(self, records: Sequence[Record]) -> None:
        """Add records, ascending in offset. Raises Inconsistent at the first promise that they break."""
        if not records:
            return
        if records[0].offset < self.next_offset:
            raise Inconsistent(
                f"log {self.log_id}: Kafka gave offset {records[0].offset} again, {self.next_offset} was next"
            )
        offsets, times, keys, values = zip(*records, strict=True)
        hashes = leaf_hashes(self.log_id, self.size, offsets, times, keys, values)
        done = 0
        while self._promises and self._promises[0].size - self.size <= len(hashes) - done:
            step = self._promises[0].size - self.size
            self._accumulator.extend(hashes[done : done + step])
            done += step
            self._keep()
        self._accumulator.extend(hashes[done:])
        self.next_offset = offsets[-1] + 1

    def _keep(self) -> None:
        while self._promises and self._promises[0].size == self.size:
            promise = self._promises.popleft()
            root = self._accumulator.root()
            if root != promise.root:
                raise Inconsistent(
                    f"log {self.log_id}: the first {promise.size} entries in Kafka have root {root.hex()}, "
                    f"but {promise.source} says {promise.root.hex()}: refusing to sign"
                )
