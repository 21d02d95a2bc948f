"""IO: events on their way to Kafka, and to disk while Kafka is away. `send` is all that an agent's thread ever does.

Three ways, in this order of age: what Kafka was given and has not confirmed (librdkafka holds it), what is on disk,
what waits in the outbox. While the last two are empty, `send` gives events to librdkafka *directly*. Otherwise they
wait, and the keeper thread moves them on, oldest first, in `serve`:

- Kafka away, stalled or full: the outbox is written to disk. What librdkafka holds stays with it: only it can send
  again without repeating (idempotence).
- Kafka back: once it has what librdkafka held, segments are sent, each removed when Kafka has confirmed all of it; then
  what waits; then directly again.
- Whoever must have it safe at once (a deadline, a close, a durable session) has taken back what librdkafka holds, and
  written to disk too.

Taking back, and dying between two of these steps, repeats events at worst; the ledger counts a repeated event nowhere.
"""

import logging
import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from procurator.avro_schemas.codec import load_schema
from procurator.errors import ProcuratorError, Unavailable
from procurator.producers.broker import Broker
from procurator.producers.connection import STALL_S, Connection
from procurator.producers.errors import DeliveryFailed, FailedEvent
from procurator.producers.outbox import Outbox, QueuePolicy
from procurator.producers.replay import Replay
from procurator.producers.spool import Spool, SpoolFailed
from procurator.topics import SESSION_EVENTS

log = logging.getLogger(__name__)

#: Who waits for safety gets it from the disk if Kafka takes longer.
CONFIRM_S = 1.0
_DISK_AGAIN_S = 5.0
_ADOPT_EVERY_S = 30.0
_GROUP_EVENTS, _GROUP_BYTES = 4_000, 4 * 1024 * 1024
_SERVE_EVERY = 1_000
_DRAIN_S = 0.05
_PAUSE_S, _PAUSE_DIRECT_S, _PAUSE_ASKED_S = 0.01, 0.1, 0.001


class Delivery:
    """The transport of one `Procurator`. ``spool`` is None unless the policy is to spool."""

    def __init__(
        self,
        connect: Callable[[], Broker],
        policy: QueuePolicy,
        spool: Spool | None,
        on_refused: Callable[[FailedEvent], None] = lambda event: None,
    ) -> None:
        """``on_refused`` is called by the keeper with each event that Kafka will never take."""
        self.woken = threading.Event()
        self.on_refused = on_refused
        self._connection = Connection(connect)
        self._outbox = Outbox(policy)
        self._spool = spool
        self._replay: Replay | None = None
        self._direct: Broker | None = None
        #: Held by whoever serves the broker; the keeper while it moves events about.
        self._serving = threading.Lock()
        self._disk_at_s = 0.0
        self._adopt_at_s = 0.0
        self._unserved = 0
        self._refused: list[FailedEvent] = []
        self._refused_count = 0
        #: Events of this process on disk.
        self.spooled = 0

    # What the agent's threads call.

    def send(self, key: bytes, body: bytes) -> None:
        """Accept one record without its header. Raises Backpressure or Dropped when it was not accepted."""
        outbox = self._outbox
        give_up_at_s = 0.0
        with outbox.lock:
            while True:
                broker = self._direct
                if broker is not None:
                    try:
                        broker.send(key, body)
                        break
                    except BufferError:
                        self._direct = broker = None
                        self.woken.set()
                if outbox.has_room((key, body)):
                    outbox.append((key, body))
                    return
                give_up_at_s = give_up_at_s or time.monotonic() + outbox.policy.wait_s
                outbox.await_room(give_up_at_s)
            outbox.accepted += 1
            self._unserved += 1
            if self._unserved < _SERVE_EVERY:
                return
            self._unserved = 0
        # Where many events come from, the keeper alone would not get at the interpreter often enough.
        if self._serving.acquire(blocking=False):
            try:
                if self._direct is broker:
                    broker.serve()
            finally:
                self._serving.release()

    def confirm(self, deadline_s: float) -> None:
        """Wait until everything accepted so far is confirmed by Kafka or on disk. Raises Unavailable if it is not."""
        receipt = self._outbox.ask(safe=True, patience_s=math.inf if self._spool is None else CONFIRM_S)
        self.woken.set()
        if not receipt.done.wait(deadline_s):
            self._outbox.give_up(receipt)
            why = self._outbox.hopeless or self._connection.away or "Kafka has not confirmed it"
            raise Unavailable(f"not durable after {deadline_s:g} s: {why}")

    def flush(self, deadline_s: float, patient: bool = True) -> int:
        """Wait until Kafka has confirmed everything accepted so far; at the deadline, put the rest on disk.

        Returns how many events of this process are on disk. Unless ``patient``, a Kafka that is known to be away is not
        waited for, if there is a disk. Raises DeliveryFailed naming what was refused, and what is neither confirmed nor
        on disk.
        """
        outbox = self._outbox
        receipt = outbox.ask(safe=False)
        give_up_at_s = time.monotonic() + deadline_s
        self.woken.set()
        while not receipt.done.wait(0.05) and time.monotonic() < give_up_at_s:
            if not patient and self._spool is not None and self._connection.away is not None:
                break
        outbox.give_up(receipt)
        if not receipt.done.is_set():
            self._save()
        return self._report(receipt.done.is_set())

    def check(self) -> None:
        """Connect now, if that has not been done. Raises Unavailable or UserError saying why it cannot be."""
        with self._serving:
            if self._connection.broker is None:
                self._connection.open()
                self._adopt()

    def close(self) -> None:
        """Let go, after `flush`, when nobody serves any more; what is not confirmed goes to disk, or is lost."""
        with self._serving:
            if (broker := self._connection.broker) is not None:
                self._step_aside(broker, None)
            if self._spool is not None:
                self._disk_at_s = 0.0
                self._to_disk()
                self._spool.close()

    def forget(self) -> None:
        """Let go of the files in a forked child, whose parent delivers; the broker must not be touched there."""
        if self._spool is not None:
            self._spool.forget()

    def _save(self) -> None:
        """Bring what Kafka has not confirmed to disk, or at least back into the outbox, where it can be counted."""
        receipt = self._outbox.ask(safe=True, patience_s=0.0)
        self.woken.set()
        give_up_at_s = time.monotonic() + CONFIRM_S + STALL_S
        while not receipt.done.wait(0.02) and time.monotonic() < give_up_at_s:
            if self._connection.broker is None and (self._spool is None or self._outbox.hopeless is not None):
                break
        self._outbox.give_up(receipt)

    def _report(self, delivered: bool) -> int:
        refused, self._refused = self._refused, []
        count, self._refused_count = self._refused_count, 0
        unconfirmed = [] if delivered else self._outbox.unconfirmed()
        if refused or unconfirmed:
            raise DeliveryFailed(refused, unconfirmed, count)
        return self.spooled

    # What the keeper calls.

    def serve(self) -> float:
        """Move events on; return the seconds after which to look again."""
        with self._serving:
            self._attend()
            connection = self._connection
            if self._outbox.asked and connection.broker is not None:
                self._hasten(connection.broker)
            if connection.broker is not None and connection.away is None:
                self._adopt()
                if self._direct is None:
                    self._catch_up(connection.broker)
            elif connection.away is not None:
                self._to_disk()
                if len(self._outbox) or self.spooled:
                    connection.complain(self._fate)
            else:
                self._relieve()
            self._answer()
            self._note_refused(connection.broker)
        if self._outbox.asked:
            return _PAUSE_ASKED_S
        return _PAUSE_S if self._direct is None else _PAUSE_DIRECT_S

    def _attend(self) -> None:
        """Look after the connection; while it does not take events, nobody sends directly."""
        connection = self._connection
        if (broker := connection.broker) is None:
            connection.look()
            if connection.broker is not None:
                self._adopt_at_s = 0.0
            return
        broker.serve()
        if broker.returned:  # The producer has failed for good, or may not write.
            self._step_aside(broker, "Kafka: it gave events back")
            return
        connection.watch(broker)
        if connection.away is not None:
            self._stop_sending_directly()

    @property
    def _fate(self) -> str:
        if self._spool is not None:
            return "they go to disk"
        if self._outbox.policy.on_full == "block":
            return "they wait"
        return "they are dropped, and counted, once the queue is full"

    def _stop_sending_directly(self) -> None:
        with self._outbox.lock:
            self._direct = None

    def _step_aside(self, broker: Broker, why: str | None) -> None:
        """Take back from librdkafka what Kafka has not confirmed, and let go of the connection."""
        self._stop_sending_directly()
        records = broker.recall()
        if self._replay is None:  # Else they are on disk still.
            self._outbox.put_back(records)
        self._replay = None
        self._note_refused(broker)
        self._connection.lose(why)

    def _hasten(self, broker: Broker) -> None:
        """Somebody waits: stop sending directly, so that what was sent before can be seen to be confirmed."""
        self._stop_sending_directly()
        # What is being replayed is safe on disk.
        if self._replay is None and not broker.drain(_DRAIN_S) and self._outbox.due:
            self._step_aside(broker, "Kafka: it takes too long to confirm")

    def _catch_up(self, broker: Broker) -> None:
        """Send what is on disk, then what waits; when nothing does any more, send directly."""
        if self._spool is not None and self._catch_up_from(self._spool, broker):
            self._relieve()
            return
        if self._outbox.asked and broker.outstanding:
            if self._outbox.over_half:
                self._to_disk()
            return
        while records := self._outbox.take(_GROUP_EVENTS, _GROUP_BYTES):
            for at, (key, body) in enumerate(records):
                try:
                    broker.send(key, body)
                except BufferError:
                    self._outbox.put_back(records[at:])
                    self._relieve()
                    return
        with self._outbox.lock:
            if not len(self._outbox) and not self._outbox.asked:
                self._direct = broker

    def _catch_up_from(self, spool: Spool, broker: Broker) -> bool:
        """Send the oldest segment, if there is one, step by step; return whether there was one."""
        try:
            if self._replay is None:
                segment = spool.oldest()
                if segment is None:
                    return False
                # What it was given before is older, and if taken back would be mixed with the segment's events.
                if not broker.drain(_DRAIN_S):
                    return True
                found = spool.read(segment)
                self._replay = Replay(segment, found, self._header(broker, found.head.schema if found.head else None))
            replay = self._replay
            if replay.go_on(broker, _DRAIN_S):
                self._replay = None
                spool.remove(replay.segment, replay.found)
                if not replay.segment.adopted:
                    self.spooled = 0 if spool.empty else self.spooled - len(replay.found.records)
        except ProcuratorError as error:
            self._step_aside(broker, str(error))
        return True

    def _header(self, broker: Broker, schema: str | None) -> bytes:
        own = load_schema(SESSION_EVENTS.schema).text
        return broker.header if schema in (None, own) else broker.header_of_text(str(schema))

    def _relieve(self) -> None:
        """Bring what waits to disk while Kafka is busy, if it is much or somebody waits for its safety."""
        if self._outbox.over_half or self._outbox.safety_asked:
            self._to_disk()

    def _to_disk(self) -> None:
        """Write what waits to disk, in groups; when the disk does not take it, it waits on."""
        spool, outbox = self._spool, self._outbox
        if spool is None or time.monotonic() < self._disk_at_s:
            return
        while records := outbox.take(_GROUP_EVENTS, _GROUP_BYTES):
            try:
                spool.append(records)
            except SpoolFailed as error:
                outbox.put_back(records)
                self._disk_at_s = time.monotonic() + _DISK_AGAIN_S
                if outbox.hopeless is None:
                    log.error("the spool does not take events, which wait in memory until that is full: %s", error)
                outbox.hopeless = f"the queue is full, and the spool does not take events: {error}"
                return
            self.spooled += len(records)
            outbox.hopeless = None

    def _answer(self) -> None:
        """Tell who waits. What librdkafka holds while a segment is replayed is on disk as well."""
        broker = self._connection.broker
        drained = broker is None or self._replay is not None or not (broker.outstanding or broker.returned)
        on_disk = self._replay is not None or (self._spool is not None and not self._spool.empty)
        self._outbox.answer(safe=drained, delivered=drained and not on_disk)

    def _adopt(self) -> None:
        now_s = time.monotonic()
        if self._spool is None or now_s < self._adopt_at_s:
            return
        self._adopt_at_s = now_s + _ADOPT_EVERY_S
        with suppress(OSError):
            if self._spool.adopt():
                self._stop_sending_directly()

    def _note_refused(self, broker: Broker | None) -> None:
        if broker is not None and broker.refused_count:
            refused, broker.refused = broker.refused, []
            self._refused_count += broker.refused_count
            broker.refused_count = 0
            self._refused += refused
            for event in refused:
                self.on_refused(event)
