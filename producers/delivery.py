"""IO: events on their way to Kafka, and to disk while Kafka is away. `send` is all that an agent's thread ever does.

Three ways, in this order of age: what Kafka was given and has not confirmed (librdkafka holds it), what is on disk,
what waits in the outbox. While the last two are empty, `send` gives events to librdkafka *directly*. Otherwise they
wait, and the keeper thread moves them on, oldest first, in `serve`:

- Kafka away, stalled or full: librdkafka gives back what is not confirmed, and the outbox is written to disk.
- Kafka back: segments are sent, each removed once Kafka has confirmed all of it; then what waits; then directly again.

Dying between two of these steps repeats events at worst, and the ledger counts a repeated event nowhere.
"""

import logging
import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from procurator.avro_schemas.codec import load_schema
from procurator.errors import ProcuratorError, Unavailable
from procurator.producers.attempt import Attempt
from procurator.producers.broker import Broker
from procurator.producers.errors import DeliveryFailed, FailedEvent
from procurator.producers.outbox import Outbox, QueuePolicy
from procurator.producers.spool import Segment, Spool, SpoolFailed
from procurator.topics import SESSION_EVENTS

log = logging.getLogger(__name__)

#: Kafka has confirmed nothing for so long, though asked to: it is away.
STALL_S = 3.0
#: Who waits for safety gets it from the disk if Kafka takes longer.
CONFIRM_S = 1.0
_CONNECT_AGAIN_S = (0.2, 10.0)
_DISK_AGAIN_S = 5.0
_ADOPT_EVERY_S = 30.0
_GROUP_EVENTS, _GROUP_BYTES = 4_000, 4 * 1024 * 1024
_SERVE_EVERY = 1_000
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
        self._connect = connect
        self._outbox = Outbox(policy)
        self._spool = spool
        self._direct: Broker | None = None
        #: Held by whoever serves the broker; the keeper while it moves events about.
        self._serving = threading.Lock()
        self._broker: Broker | None = None
        self._attempt: Attempt | None = None
        self._connect_at_s = 0.0
        self._connect_pause_s = _CONNECT_AGAIN_S[0]
        self._disk_at_s = 0.0
        self._adopt_at_s = 0.0
        self._replaying = False
        self._sent = self._unserved = self._confirmed = 0
        self._progress_s = 0.0
        self._refused: list[FailedEvent] = []
        self._refused_count = 0
        #: Events of this process on disk.
        self.spooled = 0
        #: Why Kafka is away, as far as known; None while it is not, or was not asked yet.
        self.away: str | None = None

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
            self._sent += 1
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
            why = self._outbox.hopeless or self.away or "Kafka has not confirmed it"
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
            if not patient and self._spool is not None and self.away is not None:
                break
        outbox.give_up(receipt)
        if not receipt.done.is_set():
            self._save()
        return self._report(receipt.done.is_set())

    def check(self) -> None:
        """Connect now, if that has not been done. Raises Unavailable or UserError saying why it cannot be."""
        with self._serving:
            if self._broker is None:
                self._broker = self._connect()
                self._attempt = None
                self._arrived()

    def close(self) -> None:
        """Let go, after `flush`, when nobody serves any more; what is not confirmed goes to disk, or is lost."""
        with self._serving:
            if self._broker is not None:
                self._step_aside(None)
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
            if self._broker is None and (self._spool is None or self._outbox.hopeless is not None):
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
            broker = self._broker
            if broker is None:
                self._look_for_broker()
            else:
                broker.serve()
                if broker.returned or self._stalled(broker):
                    self._step_aside("it does not answer any more")
            if self._outbox.asked and self._broker is not None:
                self._hasten(self._broker)
            if self._broker is None:
                if self.away is not None:
                    self._to_disk()
                self._relieve()
                self._answer()
            else:
                self._adopt()
                if self._direct is None:
                    self._catch_up(self._broker)
            self._note_refused()
        if self._outbox.asked:
            return _PAUSE_ASKED_S
        return _PAUSE_S if self._direct is None else _PAUSE_DIRECT_S

    def _look_for_broker(self) -> None:
        now_s = time.monotonic()
        if self._attempt is None:
            if now_s >= self._connect_at_s:
                self._attempt = Attempt(self._connect)
            return
        attempt = self._attempt
        if not attempt.over:
            return
        self._attempt = None
        self._broker = attempt.broker
        if attempt.broker is not None:
            self._arrived()
        else:
            self._connect_at_s = now_s + self._connect_pause_s
            self._connect_pause_s = min(2 * self._connect_pause_s, _CONNECT_AGAIN_S[1])
            self._leave(str(attempt.error) if isinstance(attempt.error, ProcuratorError) else repr(attempt.error))

    def _arrived(self) -> None:
        if self.away is not None:
            log.warning("Kafka is back; what waited is sent now")
        self.away = None
        self._connect_pause_s = _CONNECT_AGAIN_S[0]
        self._sent = self._confirmed = 0
        self._progress_s = time.monotonic()
        self._adopt()

    def _leave(self, why: str) -> None:
        if self.away is None:
            then = "they are dropped, and counted, once the queue is full"
            if self._spool is not None:
                then = "they go to disk"
            elif self._outbox.policy.on_full == "block":
                then = "they wait"
            log.warning("events cannot be delivered for now, %s: %s", then, why)
        self.away = why

    def _stalled(self, broker: Broker) -> bool:
        now_s = time.monotonic()
        outstanding = broker.outstanding
        confirmed = self._sent - outstanding
        if not outstanding or confirmed != self._confirmed:
            self._confirmed, self._progress_s = confirmed, now_s
        return now_s - self._progress_s > STALL_S

    def _step_aside(self, why: str | None) -> None:
        """Take back from librdkafka what Kafka has not confirmed, and let go of the connection."""
        with self._outbox.lock:
            self._direct = None
        broker = self._broker
        assert broker is not None
        records = broker.recall()
        if not self._replaying:  # Else they are on disk still.
            self._outbox.put_back(records)
        self._note_refused()
        self._broker = None
        if why is not None:
            self._connect_at_s = time.monotonic() + self._connect_pause_s
            self._leave(f"Kafka: {why}")

    def _hasten(self, broker: Broker) -> None:
        """Somebody waits: stop sending directly, so that what was sent before can be seen to be confirmed."""
        with self._outbox.lock:
            self._direct = None
        if not broker.drain(0.05) and self._outbox.due:
            self._step_aside("it takes too long to confirm")
        self._answer()

    def _catch_up(self, broker: Broker) -> None:
        """Send what is on disk, then what waits; when nothing does any more, send directly."""
        spool = self._spool
        if spool is not None and (segment := spool.oldest()) is not None:
            # What it was given before is older, and would come back mixed with the segment's events.
            if broker.drain(0.05):
                self._replay(broker, spool, segment)
            else:
                self._relieve()
            self._answer()
            return
        if self._outbox.asked and broker.outstanding:
            return
        while records := self._outbox.take(_GROUP_EVENTS, _GROUP_BYTES):
            for at, (key, body) in enumerate(records):
                try:
                    broker.send(key, body)
                except BufferError:
                    self._outbox.put_back(records[at:])
                    self._relieve()
                    return
                self._sent += 1
        with self._outbox.lock:
            if not len(self._outbox) and not self._outbox.asked:
                self._direct = broker

    def _replay(self, broker: Broker, spool: Spool, segment: Segment) -> None:
        self._replaying = True
        try:
            found = spool.read(segment)
            header = self._header(broker, found.head.schema if found.head else None)
            for at, (key, body) in enumerate(found.records):
                while True:
                    try:
                        broker.send(key, body, header)
                        break
                    except BufferError:
                        self._wait_for(broker)
                self._sent += 1
                if at % _SERVE_EVERY == 0:
                    self._wait_for(broker, 0.0)
            while not broker.drain(0.05):
                self._wait_for(broker, 0.0)
            if broker.returned:
                raise Unavailable("it gave events back")
            spool.remove(segment, found)
            if not segment.adopted:
                self.spooled = 0 if spool.empty else self.spooled - len(found.records)
        except ProcuratorError as error:
            if self._broker is not None:
                self._step_aside(str(error))
        finally:
            self._replaying = False

    def _wait_for(self, broker: Broker, wait_s: float = 0.05) -> None:
        broker.serve(wait_s)
        self._relieve()
        self._answer()
        if broker.returned or self._stalled(broker):
            raise Unavailable("it does not answer any more")

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
        drained = self._broker is None or self._replaying or not (self._broker.outstanding or self._broker.returned)
        on_disk = self._spool is not None and not self._spool.empty
        self._outbox.answer(safe=drained, delivered=drained and not on_disk and not self._replaying)

    def _adopt(self) -> None:
        now_s = time.monotonic()
        if self._spool is None or now_s < self._adopt_at_s:
            return
        self._adopt_at_s = now_s + _ADOPT_EVERY_S
        with suppress(OSError):
            if self._spool.adopt():
                with self._outbox.lock:
                    self._direct = None

    def _note_refused(self) -> None:
        broker = self._broker
        if broker is not None and broker.refused_count:
            refused, broker.refused = broker.refused, []
            self._refused_count += broker.refused_count
            broker.refused_count = 0
            self._refused += refused
            for event in refused:
                self.on_refused(event)
