"""IO: one block into the ledger, or the reason why not.

Called from several threads, for each log from one at a time.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from procurator import metrics
from procurator.errors import ProcuratorError, Unavailable
from procurator.kafka import Topics
from procurator.leaf import log_id
from procurator.sink.blocks import Block
from procurator.sink.dead_letter import DeadLetters, pointer
from procurator.sink.ledger import NO_TAIL, Log, landed
from procurator.sink.store import LedgerStore, Reading


class HeadMoved(ProcuratorError):
    """The ledger of a log does not end where it was believed to: another writer was there. Read the head again."""


class TopicRecreated(ProcuratorError):
    """The topic has another id than when its records were fetched: they belong to another log."""


@dataclass(frozen=True)
class InsertPolicy:
    """How long a reading of the head is trusted, and how often a head's row is written."""

    #: Half of what the server allows (`ledger.HEAD_AGE_US_MAX`).
    reading_age_s_max: float = 5.0
    settle_every_s: float = 1.0


class Inserter:
    """Inserts blocks of any ledgered topic."""

    def __init__(
        self,
        stores: Mapping[str, LedgerStore],
        topics: Topics,
        dead_letters: DeadLetters,
        policy: InsertPolicy = InsertPolicy(),
    ) -> None:
        self._stores = stores
        self._topics = topics
        self._dead_letters = dead_letters
        self._dead_letters_lock = threading.Lock()
        self._policy = policy

    # Insert, read back, send pointers, write the head's row; the worker commits after that. Dying after the insert:
    # the next start finds the entries behind the head's row, sends the pointers (again) and writes the row.
    def commit(self, block: Block, seen: Reading) -> Reading:
        """Insert ``block`` and return the head read back, which is the block's end.

        Raises HeadMoved or TopicRecreated, and then the block is not in the ledger unless its records stand there
        by another's hand; Unavailable when it is not known to be there.
        """
        store = self._stores[block.table]
        if time.monotonic() - seen.read_at_s > self._policy.reading_age_s_max:
            seen = self._read_again(store, block, seen)
        self._require_same_topic(block.log)
        sent_s = time.monotonic()
        store.insert(block, seen.server_time_us)
        read_at_s = time.monotonic()
        tail, server_time_us = store.tail(block.log.log_id, block.before.next_offset)
        metrics.INSERT_SECONDS.labels(block.table).observe(time.monotonic() - sent_s)
        if tail == NO_TAIL:
            raise Unavailable(f"log {block.log.log_id}: ClickHouse took a block and does not have it")
        if not landed(block.after, block.last_leaf_hash, block.entries, tail):
            raise HeadMoved(f"log {block.log.log_id}: another writer followed offset {block.before.next_offset}")
        if block.rejected:
            with self._dead_letters_lock:
                self._dead_letters.send(pointer(block.log, rejected) for rejected in block.rejected)
        seen = replace(seen, head=block.after, server_time_us=server_time_us, read_at_s=read_at_s)
        return self.settle(block.table, block.log, seen) if self.must_settle(seen, read_at_s) else seen

    def must_settle(self, seen: Reading, now_s: float) -> bool:
        """Tell whether the head's row is behind, and was written long enough ago."""
        behind = seen.settled_offset != seen.head.next_offset
        return behind and now_s - seen.settled_at_s >= self._policy.settle_every_s

    def settle(self, table: str, log: Log, seen: Reading) -> Reading:
        """Write the head's row for what has been committed."""
        self._stores[table].settle(log, seen.head)
        return replace(seen, settled_offset=seen.head.next_offset, settled_at_s=time.monotonic())

    def recover(self, table: str, log: Log, seen: Reading) -> Reading:
        """Send the pointers of what was inserted but not settled before a crash, and settle it."""
        if seen.settled_offset == seen.head.next_offset:
            return seen
        pointers = self._stores[table].rejected(log, seen.settled_offset, seen.head.next_offset)
        with self._dead_letters_lock:
            self._dead_letters.send(pointers)
        return self.settle(table, log, seen)

    def _read_again(self, store: LedgerStore, block: Block, seen: Reading) -> Reading:
        read_at_s = time.monotonic()
        tail, server_time_us = store.tail(block.log.log_id, block.before.next_offset)
        if tail != NO_TAIL:
            raise HeadMoved(f"log {block.log.log_id}: another writer followed offset {block.before.next_offset}")
        return replace(seen, server_time_us=server_time_us, read_at_s=read_at_s)

    def _require_same_topic(self, log: Log) -> None:
        # After the records were fetched: while this id still stands, they cannot have come from another topic.
        described = self._topics.describe([log.topic]).get(log.topic)
        if described is None:
            raise Unavailable(f"topic {log.topic} is gone: run `procurator setup`")
        if log_id(described[0], log.partition) != log.log_id:
            raise TopicRecreated(f"topic {log.topic} was recreated with id {described[0]}: its partitions are new logs")
