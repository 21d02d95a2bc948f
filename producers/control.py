"""IO: the one consumer of the control topic in a process. It tells the sessions that live here what they must do.

It has no consumer group: every process reads every partition, from a minute before its first session started, and
that session's first call waits until what was there has been read. Kafka away, or no such topic: sessions go on, and
are told once it is back.
"""

import logging
import os
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.errors import ProcuratorError, Rejected, Unavailable
from procurator.producers import exits
from procurator.producers.dispatch import Dispatch
from procurator.producers.late import import_clients
from procurator.topics import CONTROL

if TYPE_CHECKING:
    from confluent_kafka import Consumer

    from procurator.producers.session import Session

log = logging.getLogger(__name__)

#: A signal may be older than the session it is for, by what clocks differ and by what a start takes.
BEFORE_START_S = 60.0
#: How long the first session's first call waits for signals given before.
CATCH_UP_S = 5.0
_POLL_S = 0.1
_RETRY_S = (0.2, 30.0)


class Control:
    """Reads signals once a session lives; `shared` gives the one of this process for a cluster."""

    def __init__(self, bootstrap_servers: str, schema_registry_url: str) -> None:
        from procurator.registry import Registry

        self._bootstrap_servers = bootstrap_servers
        self._registry = Registry(schema_registry_url, timeout_s=CATCH_UP_S)
        self._dispatch = Dispatch(Decoder(load_schema(CONTROL.schema), self._registry.fetch).decode)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._caught_up = False
        self._patient_until_s = 0.0
        self._since_ms = 0
        #: Where to read on, by partition; kept when the consumer has to be made anew.
        self._next: dict[int, int] = {}
        self._complained = False

    def opened(self, session: "Session") -> None:
        """A session lives here: tell it what it is signalled, until `closed`."""
        with self._lock:
            if self._thread is None:
                self._since_ms = round((time.time() - BEFORE_START_S) * 1000)
                self._patient_until_s = time.monotonic() + CATCH_UP_S
                self._thread = threading.Thread(target=self._run, name="procurator-control", daemon=True)
                self._thread.start()
            if not self._caught_up:
                session.orders.hold(self._patient_until_s)
            self._dispatch.opened(session)

    def closed(self, session: "Session") -> None:
        """A session is over."""
        self._dispatch.closed(session)

    def close(self) -> None:
        """Stop reading."""
        self._closing.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._registry.close()

    def _run(self) -> None:
        import_clients()
        from confluent_kafka import KafkaException

        pause_s = _RETRY_S[0]
        while not self._closing.is_set():
            try:
                self._listen()
            except (KafkaException, ProcuratorError) as error:
                self._complain(error)
                self._closing.wait(pause_s)
                pause_s = min(2 * pause_s, _RETRY_S[1])

    def _listen(self) -> None:
        """Read until closed; raise KafkaException or Unavailable when the consumer has to be made anew."""
        from confluent_kafka import Consumer, KafkaError, KafkaException

        from procurator.kafka import consumer_config

        # Without a group and commits; a position that Kafka has dropped held nothing that still matters.
        options = {"auto.offset.reset": "earliest", "enable.partition.eof": True}
        consumer = Consumer(consumer_config(self._bootstrap_servers, "procurator-sdk-control", **options))
        try:
            awaited = self._assign(consumer)
            while not self._closing.is_set():
                if not awaited:
                    self._announce_caught_up()
                message = consumer.poll(_POLL_S)
                if message is None:
                    continue
                error, partition = message.error(), message.partition()
                if error is None:
                    self._take(message.value())
                    self._next[partition] = message.offset() + 1
                elif error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                if error is not None or self._next[partition] >= awaited.get(partition, 0):
                    awaited.pop(partition, None)
        finally:
            consumer.close()

    def _assign(self, consumer: "Consumer") -> dict[int, int]:
        """Assign all partitions; return the ends of those that have something to be read first."""
        from confluent_kafka import OFFSET_END, TopicPartition

        topic = consumer.list_topics(CONTROL.name, CATCH_UP_S).topics[CONTROL.name]
        if topic.error is not None:
            self._announce_caught_up()  # No topic, no signals.
            raise Unavailable(f"no topic {CONTROL.name}: run `procurator setup`")
        # The ends first: a signal that comes between the two questions is then read, not skipped.
        ends = _offsets(consumer, dict.fromkeys(topic.partitions, OFFSET_END))
        starts = _offsets(consumer, dict.fromkeys(topic.partitions, self._since_ms))
        for partition, start in starts.items():
            self._next.setdefault(partition, ends[partition] if start < 0 else start)
        consumer.assign([TopicPartition(CONTROL.name, partition, start) for partition, start in self._next.items()])
        return {partition: end for partition, end in ends.items() if self._next[partition] < end}

    def _take(self, value: Any) -> None:
        """Tell what a record says; while the registry is away, wait for it rather than lose a signal."""
        pause_s = _RETRY_S[0]
        while not self._closing.is_set():
            try:
                self._dispatch.take(value)
                return
            except Rejected as error:
                log.warning("a record of %s is no signal: %s", CONTROL.name, error)
                return
            except Unavailable as error:
                self._complain(error)
                self._closing.wait(pause_s)
                pause_s = min(2 * pause_s, _RETRY_S[1])

    def _announce_caught_up(self) -> None:
        if self._caught_up:
            return
        with self._lock:
            self._caught_up = True
            for session in self._dispatch.live():
                session.orders.caught_up()

    def _complain(self, error: Exception) -> None:
        level = logging.DEBUG if self._complained else logging.WARNING
        self._complained = True
        log.log(level, "signals cannot reach the sessions of this process for now, which go on: %s", error)


def _offsets(consumer: "Consumer", times_ms: dict[int, int]) -> dict[int, int]:
    """Return the first offset at or after a time by partition, -1 where there is none; OFFSET_END asks for the end."""
    from confluent_kafka import KafkaException, TopicPartition

    asked = [TopicPartition(CONTROL.name, partition, time_ms) for partition, time_ms in times_ms.items()]
    found = consumer.offsets_for_times(asked, CATCH_UP_S)
    for place in found:
        if place.error is not None:
            raise KafkaException(place.error)
    return {place.partition: place.offset for place in found}


_shared: dict[tuple[str, str], Control] = {}
_users: Counter[tuple[str, str]] = Counter()
_shared_lock = threading.Lock()


def _after_fork() -> None:
    """Forget the parent's consumers in a forked child, whose sessions get one of their own."""
    global _shared_lock
    for control in _shared.values():
        exits.pin(control)
    _shared.clear()
    _users.clear()
    _shared_lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


class SharedControl:
    """A user's part in the one Control of this process for a cluster; the last user's `close` closes it."""

    def __init__(self, bootstrap_servers: str, schema_registry_url: str) -> None:
        self._key = (bootstrap_servers, schema_registry_url)
        self._control: Control | None = None

    def opened(self, session: "Session") -> None:
        with _shared_lock:
            if self._control is None:
                self._control = _shared.get(self._key) or Control(*self._key)
                _shared[self._key] = self._control
                _users[self._key] += 1
        self._control.opened(session)

    def closed(self, session: "Session") -> None:
        if self._control is not None:
            self._control.closed(session)

    def close(self) -> None:
        with _shared_lock:
            control, self._control = self._control, None
            if control is None:
                return
            _users[self._key] -= 1
            if _users[self._key]:
                return
            del _shared[self._key], _users[self._key]
        with suppress(ProcuratorError):
            control.close()
