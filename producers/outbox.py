"""The bounded queue of events that neither Kafka nor the disk has, and who waits for what is in it. Threads share it.

Events are numbered as they are accepted; the queue always holds the newest of them. So what stands before the queue's
first event is safe once Kafka has confirmed what it was given.
"""

import math
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Literal

from procurator.errors import Backpressure
from procurator.producers.errors import Dropped, Unconfirmed
from procurator.producers.frames import Record

OnFull = Literal["spool", "block", "drop"]
ON_FULL: tuple[OnFull, ...] = ("spool", "block", "drop")


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """How much may wait in memory, and what happens to an event for which there is no room.

    ``spool``: the queue is emptied to disk; only when the disk does not take it either, the event is dropped.
    ``block``: the call waits ``wait_s``, then raises Backpressure. ``drop``: the event is dropped at once. Dropped
    events are counted, and recorded as a gap.
    """

    on_full: OnFull = "spool"
    wait_s: float = 5.0
    events_max: int = 100_000
    bytes_max: int = 256 * 1024 * 1024


@dataclass(slots=True)
class Receipt:
    """Somebody waits until the first ``number`` events are in Kafka, or at least ``safe``: there or on disk.

    From ``due_s`` of the monotonic clock on, Kafka is not waited for any more.
    """

    number: int
    safe: bool
    due_s: float
    done: threading.Event = field(default_factory=threading.Event)


class Outbox:
    """`lock` guards everything; who appends holds it."""

    def __init__(self, policy: QueuePolicy) -> None:
        self.policy = policy
        self.lock = threading.Lock()
        self.accepted = 0
        #: Why nothing will make room soon, while that is so.
        self.hopeless: str | None = None
        self._room = threading.Condition(self.lock)
        self._waiting: deque[Record] = deque()
        self._bytes = 0
        self._receipts: list[Receipt] = []

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def over_half(self) -> bool:
        """Whether it is time to do something about what waits."""
        return 2 * len(self._waiting) > self.policy.events_max or 2 * self._bytes > self.policy.bytes_max

    def has_room(self, record: Record) -> bool:
        """Tell whether a record may wait; one may always, whatever its size."""
        size = len(record[0]) + len(record[1])
        fits = len(self._waiting) < self.policy.events_max and self._bytes + size <= self.policy.bytes_max
        return fits or not self._waiting

    def append(self, record: Record) -> None:
        """Let an accepted record wait."""
        self._waiting.append(record)
        self._bytes += len(record[0]) + len(record[1])
        self.accepted += 1

    def await_room(self, give_up_at_s: float) -> None:
        """Wait for a change. Raises Backpressure, or Dropped, when the event at hand is not accepted."""
        policy = self.policy
        if policy.on_full == "drop" or (policy.on_full == "spool" and self.hopeless is not None):
            raise Dropped(self.hopeless or "the queue is full")
        left_s = give_up_at_s - time.monotonic()
        if left_s <= 0 or not self._room.wait(left_s):
            message = f"nothing has taken an event for {policy.wait_s:g} s and the queue is full"
            if policy.on_full == "block":
                raise Backpressure(f"{message}: the event was not accepted")
            raise Dropped(message)

    def take(self, events_max: int, bytes_max: int) -> list[Record]:
        """Return the oldest records, at least one if there is any; they wait no longer."""
        taken: list[Record] = []
        size = 0
        with self.lock:
            if len(self._waiting) <= events_max and self._bytes <= bytes_max:
                taken, self._bytes = list(self._waiting), 0
                self._waiting.clear()
                self._room.notify_all()
                return taken
            while self._waiting and len(taken) < events_max:
                size += len(self._waiting[0][0]) + len(self._waiting[0][1])
                if taken and size > bytes_max:
                    break
                taken.append(self._waiting.popleft())
            self._bytes -= sum(len(key) + len(body) for key, body in taken)
            self._room.notify_all()
        return taken

    def put_back(self, records: list[Record]) -> None:
        """Let records wait again that are older than all that wait."""
        with self.lock:
            self._waiting.extendleft(reversed(records))
            self._bytes += sum(len(key) + len(body) for key, body in records)

    def unconfirmed(self) -> list[Unconfirmed]:
        """Return how many events of each session wait."""
        with self.lock:
            counts = Counter(key for key, _ in self._waiting)
        return [Unconfirmed(key.decode("ascii", "replace"), count) for key, count in counts.items()]

    @property
    def asked(self) -> bool:
        """Whether somebody waits for a receipt."""
        return bool(self._receipts)

    @property
    def safety_asked(self) -> bool:
        """Whether somebody waits for what the disk can give."""
        return any(receipt.safe for receipt in list(self._receipts))

    @property
    def due(self) -> bool:
        """Whether somebody does not want to wait for Kafka any more."""
        now_s = time.monotonic()
        return any(receipt.due_s <= now_s for receipt in list(self._receipts))

    def ask(self, safe: bool, patience_s: float = math.inf) -> Receipt:
        """Return a receipt for everything accepted so far."""
        with self.lock:
            receipt = Receipt(self.accepted, safe, time.monotonic() + patience_s)
            self._receipts.append(receipt)
        return receipt

    def give_up(self, receipt: Receipt) -> None:
        """Nobody waits for a receipt any more."""
        with self.lock:
            if receipt in self._receipts:
                self._receipts.remove(receipt)

    def answer(self, safe: bool, delivered: bool) -> None:
        """Say that everything before the queue's first event is ``safe``, or ``delivered``."""
        with self.lock:
            number = self.accepted - len(self._waiting)
            for receipt in list(self._receipts):
                if receipt.number <= number and (delivered or (safe and receipt.safe)):
                    self._receipts.remove(receipt)
                    receipt.done.set()
