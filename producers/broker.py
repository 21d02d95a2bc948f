"""IO: the events topic of one cluster, through librdkafka's idempotent producer.

Success is silent: an event is confirmed once nothing is `outstanding` any more, and what did not reach Kafka comes back
from `recall`, or was refused for good. (A callback for each confirmed event would cost more than sending it.)
"""

import logging
import time
from contextlib import closing
from typing import Any

from procurator.avro_schemas.codec import HEADER, MAGIC, Schema, load_schema, parse_schema
from procurator.errors import Unavailable, UserError
from procurator.producers.errors import FailedEvent
from procurator.producers.frames import Record
from procurator.producers.late import import_clients
from procurator.producers.wire import identity_of
from procurator.topics import SESSION_EVENTS

log = logging.getLogger(__name__)

#: What librdkafka holds at most; beyond, events wait in our own queue, and then on disk.
LIBRDKAFKA_EVENTS_MAX = 50_000
LIBRDKAFKA_KIB_MAX = 128 * 1024
#: How long a neighbour may take to answer.
ANSWER_S = 10.0
_PURGE_S = 1.0
#: Refused events that are named between two flushes; beyond, they are counted (and each is logged).
REFUSED_KEPT_MAX = 10_000
#: Asking again would not help: what the broker, or librdkafka, says about the event itself.
_REFUSALS = ("MSG_SIZE_TOO_LARGE", "INVALID_MSG", "INVALID_RECORD", "RECORD_LIST_TOO_LARGE")


class Broker:
    """One connection to a cluster. `send` may be called by any thread, the rest by one thread at a time.

    ``returned`` are records that did not reach Kafka and can be sent again, ``refused`` events that never will.
    """

    def __init__(self, bootstrap_servers: str, schema_registry_url: str) -> None:
        """Connect. Raises Unavailable when Kafka or registry is away, UserError when they are not set up."""
        import_clients()
        self._bootstrap_servers = bootstrap_servers
        self._schema_registry_url = schema_registry_url
        self.returned: list[Record] = []
        self.refused: list[FailedEvent] = []
        self.refused_count = 0
        self._sent = 0
        self.header = self.header_of(load_schema(SESSION_EVENTS.schema))
        self._producer = self._connect()
        self._produce = self._producer.produce
        self._topic = SESSION_EVENTS.name

    def _connect(self) -> Any:
        from confluent_kafka import KafkaError, KafkaException, Producer

        from procurator.kafka import producer_config

        self._kafka_exception = KafkaException
        self._refusals = {getattr(KafkaError, name) for name in _REFUSALS if hasattr(KafkaError, name)}
        options = {
            "queue.buffering.max.messages": LIBRDKAFKA_EVENTS_MAX,
            "queue.buffering.max.kbytes": LIBRDKAFKA_KIB_MAX,
            "message.timeout.ms": 0,  # An event never expires: it is delivered, refused, or recalled.
            "linger.ms": 5,
            "reconnect.backoff.max.ms": 2_000,
            "delivery.report.only.error": True,
            "on_delivery": self._failed,
        }
        where = f"Kafka at {self._bootstrap_servers}"
        try:
            producer = Producer(producer_config(self._bootstrap_servers, **options))
            topic = producer.list_topics(SESSION_EVENTS.name, ANSWER_S).topics[SESSION_EVENTS.name]
        except KafkaException as error:
            if error.args[0].code() == KafkaError._INVALID_ARG:
                raise UserError(f"{where}: {error.args[0].str()}") from None
            raise Unavailable(f"{where} does not answer: {error.args[0].str()}") from None
        if topic.error is not None:
            raise UserError(f"{where} has no {SESSION_EVENTS.name}: run `procurator setup`")
        return producer

    def header_of(self, schema: Schema) -> bytes:
        """Return what stands before records of ``schema`` on the wire. Raises Unavailable or UserError."""
        from procurator.registry import Registry

        with closing(Registry(self._schema_registry_url, timeout_s=ANSWER_S)) as registry:
            return HEADER.pack(MAGIC, registry.schema_id(schema))

    def header_of_text(self, text: str) -> bytes:
        """Do as `header_of` for the JSON of another version's schema.

        Raises UserError when that is to blame: it is no schema, or not in a registry that has ours; else Unavailable.
        """
        try:
            schema = parse_schema(text)
        except ValueError as error:
            raise UserError(f"its schema cannot be read: {error}") from None
        try:
            return self.header_of(schema)
        except UserError as error:
            self._ask_for_ours()
            raise UserError(f"another version wrote it, whose schema must be registered: {error}") from None

    def _ask_for_ours(self) -> None:
        """Raise Unavailable when the registry, which had our own schema, has lost it, or refuses whatever is asked."""
        try:
            self.header_of(load_schema(SESSION_EVENTS.schema))
        except UserError as error:
            raise Unavailable(str(error)) from None

    def send(self, key: bytes, body: bytes, header: bytes | None = None) -> None:
        """Take one record without its header. Raises BufferError when there is no room."""
        try:
            self._produce(self._topic, (header or self.header) + body, key)
            self._sent += 1
        except self._kafka_exception as error:
            self._take_back(error.args[0], key, body)

    @property
    def outstanding(self) -> int:
        """Number of events that Kafka may not have yet."""
        return len(self._producer)

    @property
    def confirmed(self) -> int:
        """Number of events that Kafka is known to have; it stands still while nothing is confirmed."""
        return self._sent - len(self._producer)

    def serve(self, wait_s: float = 0.0) -> None:
        """Handle what Kafka has answered."""
        self._producer.poll(wait_s)

    def drain(self, wait_s: float) -> bool:
        """Wait until nothing is outstanding; return whether it came to that."""
        return not self._producer.flush(wait_s)

    def recall(self) -> list[Record]:
        """Take back what Kafka has not confirmed, in the order in which it was sent; nothing can be sent afterwards.

        Kafka may have what was on its way all the same: sent again, the ledger counts it nowhere.
        """
        self._producer.purge()
        left, give_up_at = len(self._producer), time.monotonic() + _PURGE_S
        while left and time.monotonic() < give_up_at:
            before, left = left, self._producer.flush(0.1)
            if left < before:
                give_up_at = time.monotonic() + _PURGE_S
        if left:
            log.error(
                "%d events that Kafka has not confirmed did not come back from librdkafka: they may be lost", left
            )
        del self._producer, self._produce  # They know us, we know them: nobody else would end the connection soon.
        returned, self.returned = self.returned, []
        # Every emitter counts its events, so this is the order within each session.
        return sorted(returned, key=lambda record: identity_of(record[1]).sequence)

    def _failed(self, error: Any, message: Any) -> None:
        self._take_back(error, message.key(), message.value()[HEADER.size :])

    def _take_back(self, error: Any, key: bytes, body: bytes) -> None:
        if error.code() not in self._refusals:
            self.returned.append((key, body))
            return
        event = identity_of(body)
        session_id = key.decode("ascii", "replace")
        log.error("event %s of session %s is refused by Kafka: %s", event.event_id, session_id, error.str())
        self.refused_count += 1
        if len(self.refused) < REFUSED_KEPT_MAX:
            self.refused.append(FailedEvent(session_id, event.event_id, error.str(), event.sequence))
