"""IO: what the API says to Kafka: signals, decisions, definitions. Each is acknowledged before the API answers."""

import asyncio
from collections.abc import Iterable
from typing import Any

from procurator.avro_schemas.codec import Schema, load_schema
from procurator.config import Settings
from procurator.query_api.acknowledged import AcknowledgedProducer
from procurator.registry import Registry
from procurator.topics import Topic


class Commands:
    """Every method raises Unavailable while a neighbour is away. No thread waits: requests share one producer's."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._registry = registry
        self._schemas: dict[Topic, tuple[Schema, int]] = {}
        self._producer = AcknowledgedProducer(settings.kafka_bootstrap_servers)

    async def send(self, topic: Topic, key: str, *records: dict[str, Any] | None) -> None:
        """Write the records with one key, in order, None being a tombstone; return when Kafka has them."""
        await self.send_all(topic, [(key, record) for record in records])

    async def send_all(self, topic: Topic, records: Iterable[tuple[str, dict[str, Any] | None]]) -> None:
        """Write records, each with its key; return when Kafka has all of them."""
        if topic not in self._schemas:
            schema = load_schema(topic.schema)
            self._schemas[topic] = schema, await asyncio.to_thread(self._registry.schema_id, schema)
        schema, schema_id = self._schemas[topic]
        values = [(key, None if record is None else schema.encode(record, schema_id)) for key, record in records]
        # Tasks begin in the order in which they are made, so the records stand in it.
        await asyncio.gather(*(self._producer.send(topic.name, key, value) for key, value in values))

    def close(self) -> None:
        """Forget the producer: all that it wrote is acknowledged."""
        self._producer.close()
