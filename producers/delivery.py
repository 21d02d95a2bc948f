"""IO: events on their way to Kafka, and to disk while Kafka is away. `send` is all that an agent's thread ever does.

Three places, in this order of age: what Kafka was given and has not confirmed (librdkafka holds it), what is on disk,
what waits in the outbox. `send` adds to the last; the keeper thread moves events on, oldest first, in `serve`:

- Kafka there: librdkafka is given what waits, every 20 ms. (Giving it each event at once would often wake its threads,
  which costs the agent's own thread more than all the rest.)
- Kafka away, stalled or full: the outbox is written to disk. What librdkafka holds stays with it: only it can send
  again without repeating (idempotence).
- Kafka back: once it has what librdkafka held, segments are sent, each removed when Kafka has confirmed all of it; then
  what waits.
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
from procurator.errors import Unavailable, UserError
from procurator.producers.broker import Broker
from procurator.producers.connection import STALL_S, Connection
from procurator.producers.errors import DeliveryFailed, FailedEvent
from procurator.producers.frames import Record, Scan
from procurator.producers.outbox import Outbox, QueuePolicy
from procurator.producers.replay import Replay
from procurator.producers.spool import Segment, Spool, SpoolFailed
from procurator.topics import SESSION_EVENTS

log = logging.getLogger(__name__)

#: Who waits for safety gets it from the disk if Kafka takes longer.
CONFIRM_S = 1.0
_DISK_AGAIN_S = 5.0
_ADOPT_EVERY_S = 30.0
_GROUP_EVENTS, _GROUP_BYTES = 4_000, 4 * 1024 * 1024
_HELP_EVERY = 500
_DRAIN_S = 0.05
#: The keeper takes the interpreter from the agent as often as it looks: hence not more often.
_PAUSE_S, _PAUSE_ASLEEP_S, _PAUSE_ASKED_S = 0.02, 0.1, 0.001


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
        #: Held by whoever serves the broker; the keeper while it moves events about.
        self._serving = threading.Lock()
        #: Kafka takes what waits, and nothing older is anywhere else.
        self._flowing = False
        self._helped = False
        #: The keeper found nothing to do: the next event wakes it.
        self._asleep = False
        self._disk_at_s = 0.0
        self._read_at_s = 0.0
        self._adopt_at_s = 0.0
        self._refused: list[FailedEvent] = []
        self._refused_count = 0
        #: Events of this process on disk.
        self.spooled = 0

    # What the agent's threads call.

    def send(self, key: bytes, body: bytes) -> None:
        """Accept one record without its header. Raises Backpressure or Dropped when it was not accepted."""
        outbox, record = self._outbox, (key, body)
        with outbox.lock:
            if not outbox.has_room(record):
                give_up_at_s = time.monotonic() + outbox.policy.wait_s
                while not outbox.has_room(record):
                    outbox.await_room(give_up_at_s)
            outbox.append(record)
            waiting = len(outbox)
            wake, self._asleep = self._asleep, False
        if wake:
            self.woken.set()
        elif waiting % _HELP_EVERY == 0 and self._flowing:
            self._help()

    def _help(self) -> None:
        """Do the keeper's work: where so many events come from, it alone does not get at the interpreter enough."""
        if self._serving.acquire(blocking=False):
            try:
                broker = self._connection.broker
                if self._flowing and broker is not None:
                    self._flowing = self._hand_over(broker)
                    broker.serve()
                    self._helped = not broker.returned  # What came back is for the keeper to see to.
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
        if self._helped and not self._outbox.asked:
            # Who sends so much sees to it; both at it would only take the interpreter from one another.
            self._helped = False
            return _PAUSE_S
        with self._serving:
            self._attend()
            connection = self._connection
            moved = False
            if connection.broker is not None and connection.away is None:
                self._adopt()
                moved = self._catch_up(connection.broker)
            elif connection.away is not None:
                self._to_disk()
                if len(self._outbox) or self.spooled:
                    connection.complain(self._fate)
            else:
                self._relieve()
            if self._outbox.asked and connection.broker is not None:
                self._hasten(connection.broker)
            self._answer()
            self._note_refused(connection.broker)
        return self._pause_s(moved)

    def _pause_s(self, moved: bool) -> float:
        outbox = self._outbox
        if outbox.asked:
            return _PAUSE_ASKED_S
        settled = self._flowing or self._connection.away is not None
        with outbox.lock:
            self._asleep = settled and not moved and not len(outbox)
        return _PAUSE_ASLEEP_S if self._asleep else _PAUSE_S

    def _attend(self) -> None:
        """Look after the connection."""
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
            self._flowing = False

    @property
    def _fate(self) -> str:
        if self._spool is not None:
            return "they go to disk"
        if self._outbox.policy.on_full == "block":
            return "they wait"
        return "they are dropped, and counted, once the queue is full"

    def _step_aside(self, broker: Broker, why: str | None) -> None:
        """Take back from librdkafka what Kafka has not confirmed, and let go of the connection."""
        self._flowing = False
        records = broker.recall()
        if self._replay is None:  # Else they are on disk still.
            self._put_before(records)
        self._replay = None
        self._note_refused(broker)
        self._connection.lose(why)

    def _put_before(self, records: list[Record]) -> None:
        """Let records wait again, before what this process has on disk: all of that came later."""
        if records and self._spool is not None and not self._spool.empty:
            with suppress(SpoolFailed):  # Then late rather than lost.
                self._spool.prepend(records)
                self.spooled += len(records)
                return
        self._outbox.put_back(records)

    def _hasten(self, broker: Broker) -> None:
        """Somebody waits: give Kafka nothing more, so that what it was given can be seen to be confirmed."""
        self._flowing = False
        # What is being replayed is safe on disk.
        if self._replay is None and not broker.drain(_DRAIN_S) and self._outbox.due:
            self._step_aside(broker, "Kafka: it takes too long to confirm")

    def _catch_up(self, broker: Broker) -> bool:
        """Send what is on disk, then what waits; return whether anything did."""
        outbox = self._outbox
        if self._spool is not None and self._catch_up_from(self._spool, broker):
            self._flowing = False
            self._relieve()
            return True
        if outbox.asked and broker.outstanding:
            if outbox.over_half:
                self._to_disk()
            return True
        moved = len(outbox) > 0
        self._flowing = self._hand_over(broker)
        if not self._flowing:
            self._relieve()
        return moved

    def _hand_over(self, broker: Broker) -> bool:
        """Give librdkafka what waits; return whether there was room for all of it."""
        while records := self._outbox.take(_GROUP_EVENTS, _GROUP_BYTES):
            given = 0
            try:
                for key, body in records:
                    broker.send(key, body)
                    given += 1
            except BaseException as error:  # Also what a signal's handler raises in the agent's thread.
                self._outbox.put_back(records[given:])
                if not isinstance(error, BufferError):
                    raise
                return False
        return True

    def _catch_up_from(self, spool: Spool, broker: Broker) -> bool:
        """Send the oldest segment, if there is one, step by step; return whether there was one."""
        if self._replay is None:
            segment = spool.oldest()
            if segment is None:
                return False
            # What it was given before is older, and if taken back would be mixed with the segment's events.
            if time.monotonic() < self._read_at_s or not broker.drain(_DRAIN_S) or broker.returned:
                return True
            self._begin(spool, segment, broker)
        replay = self._replay
        if replay is not None and replay.go_on(broker, _DRAIN_S):
            self._replay = None
            spool.remove(replay.segment, replay.found)
            self._count_sent(spool, replay.segment, replay.found)
        return True

    def _begin(self, spool: Spool, segment: Segment, broker: Broker) -> None:
        """Read a segment that is to be sent; what is wrong with one is no reason to keep back all that others hold."""
        try:
            found = spool.read(segment)
        except SpoolFailed:
            if segment.adopted:
                spool.let_go(segment)  # The next look at what may be adopted finds it again.
            else:  # What this process wrote later must not come before it.
                self._read_at_s = time.monotonic() + _DISK_AGAIN_S
            return
        try:
            self._replay = Replay(segment, found, self._header(broker, found.head.schema if found.head else None))
        except UserError as error:
            spool.refuse(segment, str(error))
            self._count_sent(spool, segment, found)
        except Unavailable as error:
            self._step_aside(broker, str(error))

    def _count_sent(self, spool: Spool, segment: Segment, found: Scan) -> None:
        if not segment.adopted:
            self.spooled = 0 if spool.empty else self.spooled - len(found.records)

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
                self._flowing = False

    def _note_refused(self, broker: Broker | None) -> None:
        if broker is not None and broker.refused_count:
            refused, broker.refused = broker.refused, []
            self._refused_count += broker.refused_count
            broker.refused_count = 0
            self._refused += refused
            for event in refused:
                self.on_refused(event)
