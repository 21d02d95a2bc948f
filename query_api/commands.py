"""IO: what the API says to Kafka: signals, decisions, definitions. Each is acknowledged before the API answers."""

import asyncio
import threading
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from procurator.avro_schemas.codec import Schema, load_schema
from procurator.config import Settings
from procurator.errors import Unavailable
from procurator.kafka import producer_config
from procurator.registry import Registry
from procurator.topics import Topic

_TIMEOUT_MS = 10_000
_POLL_S = 0.1


class Commands:
    """A producer that is made when it is needed first. Every method raises Unavailable while a neighbour is away."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._settings = settings
        self._registry = registry
        self._schemas: dict[Topic, tuple[Schema, int]] = {}
        self._producer: Producer | None = None
        self._lock = threading.Lock()

    async def send(self, topic: Topic, key: str, *records: dict[str, Any] | None) -> None:
        """Write the records with one key, in order, None being a tombstone; return when Kafka has them."""
        await asyncio.to_thread(self._send, topic, [(key, record) for record in records])

    async def send_all(self, topic: Topic, records: list[tuple[str, dict[str, Any]]]) -> None:
        """Write records, each with its key; return when Kafka has all of them."""
        await asyncio.to_thread(self._send, topic, list(records))

    def close(self) -> None:
        """Forget the producer: all that it wrote is acknowledged."""
        self._producer = None

    def _send(self, topic: Topic, records: list[tuple[str, Any]]) -> None:
        schema, schema_id = self._schema(topic)
        producer = self._open()
        open_records = len(records)
        failed: list[KafkaError] = []

        def delivered(error: KafkaError | None, _message: Message) -> None:
            nonlocal open_records
            open_records -= 1
            if error is not None:
                failed.append(error)

        try:
            for key, record in records:
                value = None if record is None else schema.encode(record, schema_id)
                producer.produce(topic.name, value, key, on_delivery=delivered)
            while open_records:  # each ends by its timeout at the latest
                producer.poll(_POLL_S)
        except (BufferError, KafkaException) as error:
            raise Unavailable(f"Kafka at {self._settings.kafka_bootstrap_servers}: {error}") from error
        if failed:
            raise Unavailable(f"Kafka at {self._settings.kafka_bootstrap_servers}: {failed[0].str()}")

    def _schema(self, topic: Topic) -> tuple[Schema, int]:
        found = self._schemas.get(topic)
        if found is None:
            schema = load_schema(topic.schema)
            found = self._schemas[topic] = schema, self._registry.schema_id(schema)
        return found

    def _open(self) -> Producer:
        with self._lock:
            if self._producer is None:
                overrides = {"linger.ms": 0, "message.timeout.ms": _TIMEOUT_MS, "log_level": 0}
                self._producer = Producer(producer_config(self._settings.kafka_bootstrap_servers, **overrides))
            return self._producer
