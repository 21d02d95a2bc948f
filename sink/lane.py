"""One log on its way into the ledger: records that wait, a block that is made, a block that is being inserted."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from time import monotonic

from procurator.sink.batching import BatchPolicy, BatchState
from procurator.sink.blocks import Block, Projection, make_block
from procurator.sink.inserter import Inserter
from procurator.sink.ledger import Head, Log, same_day
from procurator.sink.records import Records
from procurator.sink.store import Reading


@dataclass
class Lane:
    """The state of one assigned log. ``reading`` is what is known to stand in the ledger.

    Blocks are made ahead of the ledger, from the head that the block before is expected to lead to.
    """

    log: Log
    projection: Projection
    inserter: Inserter
    reading: Reading
    records: Records = field(default_factory=Records)
    batch: BatchState = field(default_factory=BatchState)
    ready: Block | None = None
    working: "Future[Reading] | None" = None
    #: How long the insert of the block that landed last took.
    spent_s: float = 0.0
    _submitted_at_s: float = 0.0
    _expected: Head = field(init=False)
    _landed_blocks: int = 0

    def __post_init__(self) -> None:
        self._expected = self.reading.head

    @property
    def blocks(self) -> int:
        """How many blocks are made and not in the ledger."""
        return (self.ready is not None) + (self.working is not None)

    def add(self, records: Records, now_s: float) -> None:
        """Take records that were fetched, which follow those taken before."""
        self.batch.add(len(records), records.size_bytes, now_s)
        self.records.extend(records)

    def is_due(self, policy: BatchPolicy, now_s: float, spent_s: float) -> bool:
        """Tell whether the next block should be made now; see `BatchState.is_due`."""
        return self.ready is None and self.batch.is_due(policy, now_s, spent_s)

    def prepare(self, policy: BatchPolicy) -> None:
        """Make the next block from the first records that wait. Raises Unavailable."""
        limit = self.records.within(policy.rows_max, policy.bytes_max)
        records = self.records.take(same_day(self.records.broker_times_us[:limit]))
        self.batch.remove(len(records), records.size_bytes)
        self.ready = make_block(self.log, self._expected, records, self.projection)
        self._expected = self.ready.after

    def submit(self) -> None:
        """Have the made block inserted, when there is one and the one before has landed."""
        if self.ready is not None and self.working is None:
            block, reading, self._submitted_at_s = self.ready, self.reading, monotonic()
            self.working = _in_thread(lambda: self.inserter.commit(block, reading))
            self.ready = None

    def settle(self, now_s: float) -> None:
        """Have the head's row written, when nothing is being inserted and it is due."""
        reading = self.reading
        if self.working is None and self.inserter.must_settle(reading, now_s):
            self.working = _in_thread(lambda: self.inserter.settle(self.projection.table, self.log, reading))

    def finish(self) -> bool:
        """Note work that has ended and return whether the ledger got further. Raises what the work raised."""
        if self.working is None or not self.working.done():
            return False
        before, working, self.working = self.reading, self.working, None
        self.reading = working.result()
        if self.reading.head == before.head:
            return False
        self.spent_s = self.reading.read_at_s - self._submitted_at_s
        self._landed_blocks += 1
        self.projection.landed(self._landed_blocks)
        return True


def _in_thread(work: Callable[[], Reading]) -> "Future[Reading]":
    """Run ``work`` in a daemon thread: unlike an executor's, it cannot hold up the end of the process."""
    future: Future[Reading] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - whoever asks for the result gets it
            future.set_exception(error)

    threading.Thread(target=run, name="insert", daemon=True).start()
    return future
