"""IO: events on their way to Kafka, each accounted for until Kafka confirms it."""

import logging
import threading
import time
from collections import Counter
from typing import Any, Protocol

from procurator.errors import Backpressure, Fatal, Unavailable, UserError
from procurator.producers.errors import DeliveryFailed, FailedEvent, Unconfirmed
from procurator.topics import SESSION_EVENTS

log = logging.getLogger(__name__)
#: What librdkafka says about connections is for whoever sets logging up; without, it would clutter an agent's terminal.
librdkafka_log = logging.getLogger(f"{__name__}.librdkafka")
librdkafka_log.addHandler(logging.NullHandler())

#: Events waiting for Kafka. When they are this many, `send` waits; 100,000 events are a second of a busy fleet.
QUEUE_EVENTS_MAX = 100_000
QUEUE_KIB_MAX = 256 * 1024
#: Refused events that are named between two flushes; beyond, they are counted (and each is logged).
FAILED_KEPT_MAX = 10_000
_SERVE_EVERY = 64
# Header, then the event id: a length byte and 36 characters. So a refused record says which event it was.
_EVENT_ID = slice(6, 42)


class Transport(Protocol):
    """Carries framed events; what it has taken it delivers, or says that it did not."""

    def send(self, key: bytes, value: bytes) -> None:
        """Take one record. Raises Backpressure when it was not taken."""

    def serve(self) -> None:
        """Handle the confirmations that have arrived."""

    def flush(self, deadline_s: float) -> None:
        """Wait until everything taken is confirmed. Raises DeliveryFailed saying exactly what is not."""

    def close(self) -> None:
        """Let go of what is left."""


class KafkaTransport:
    """The events topic of one cluster, through librdkafka's idempotent producer.

    Events never expire in the queue: an outage of Kafka fills it, `send` then waits ``queue_wait_s`` and raises
    Backpressure. Threads may share it.
    """

    def __init__(self, bootstrap_servers: str, queue_wait_s: float, **overrides: Any) -> None:
        from confluent_kafka import KafkaException, Producer

        from procurator.kafka import producer_config

        bounds = {
            "queue.buffering.max.messages": QUEUE_EVENTS_MAX,
            "queue.buffering.max.kbytes": QUEUE_KIB_MAX,
            "message.timeout.ms": 0,
        }
        self._bootstrap_servers = bootstrap_servers
        self._queue_wait_s = queue_wait_s
        self._kafka_exception = KafkaException
        self._lock = threading.Lock()
        self._unconfirmed: Counter[bytes] = Counter()
        self._failed: list[FailedEvent] = []
        self._failed_count = 0
        self._abandoned = False
        self._sent_since_served = 0
        try:
            self._producer = Producer(producer_config(bootstrap_servers, **bounds, **overrides), logger=librdkafka_log)
        except KafkaException as error:
            raise UserError(f"Kafka at {bootstrap_servers}: {error.args[0].str()}") from None

    def check(self, timeout_s: float = 15.0) -> None:
        """Raise Unavailable when the cluster does not answer, UserError when it lacks the topic."""
        try:
            topic = self._producer.list_topics(SESSION_EVENTS.name, timeout_s).topics[SESSION_EVENTS.name]
        except self._kafka_exception as error:
            raise Unavailable(f"Kafka at {self._bootstrap_servers} does not answer: {error.args[0].str()}") from None
        if topic.error is not None:
            raise UserError(f"Kafka at {self._bootstrap_servers} has no {SESSION_EVENTS.name}: run `procurator setup`")

    def send(self, key: bytes, value: bytes) -> None:
        with self._lock:
            self._unconfirmed[key] += 1
        try:
            self._produce(key, value)
        except BaseException:
            self._settle(key)
            raise
        # Confirmations are handled where events come from: another thread doing it would fight for the interpreter.
        self._sent_since_served += 1
        if self._sent_since_served >= _SERVE_EVERY:
            self._sent_since_served = 0
            self._producer.poll(0)

    def _produce(self, key: bytes, value: bytes) -> None:
        give_up_at = None
        while True:
            try:
                self._producer.produce(SESSION_EVENTS.name, value=value, key=key, on_delivery=self._delivered)
                return
            except BufferError:
                now = time.monotonic()
                give_up_at = give_up_at or now + self._queue_wait_s
                if now >= give_up_at:
                    raise Backpressure(
                        f"Kafka at {self._bootstrap_servers} has not taken an event for {self._queue_wait_s:g} s and"
                        " the queue is full: the event was not accepted"
                    ) from None
                self._producer.poll(min(0.05, give_up_at - now))
            except self._kafka_exception as error:
                raise Fatal(f"Kafka at {self._bootstrap_servers} refuses an event: {error.args[0].str()}") from None

    def _delivered(self, error: Any, message: Any) -> None:
        key = message.key()
        self._settle(key)
        if error is not None and not self._abandoned:
            event_id = message.value()[_EVENT_ID].decode("ascii", "replace")
            failed = FailedEvent(key.decode("ascii", "replace"), event_id, error.str())
            log.error("event %s of session %s was not delivered: %s", event_id, failed.session_id, failed.reason)
            with self._lock:
                self._failed_count += 1
                if len(self._failed) < FAILED_KEPT_MAX:
                    self._failed.append(failed)

    def _settle(self, key: bytes) -> None:
        with self._lock:
            left = self._unconfirmed[key] - 1
            if left:
                self._unconfirmed[key] = left
            else:
                del self._unconfirmed[key]

    def serve(self) -> None:
        self._producer.poll(0)

    def flush(self, deadline_s: float) -> None:
        give_up_at = time.monotonic() + deadline_s
        while self._unconfirmed and (left_s := give_up_at - time.monotonic()) > 0:
            # In slices: the keeper thread may take the very confirmation that we would wait for.
            self._producer.flush(min(left_s, 0.1))
        with self._lock:
            failed, self._failed = self._failed, []
            count, self._failed_count = self._failed_count, 0
            unconfirmed = [Unconfirmed(key.decode(), count) for key, count in self._unconfirmed.items()]
        if failed or unconfirmed:
            raise DeliveryFailed(failed, unconfirmed, count)

    def close(self) -> None:
        self._abandoned = True  # What is purged now, `flush` has reported as unconfirmed.
        self._producer.purge()
        self._producer.flush(1.0)
