"""IO: what was decided, said: events into the sessions' logs, signals, statuses."""

import asyncio
import os
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError, Message, Producer

from procurator import clock, metrics
from procurator.avro_schemas.codec import load_schema
from procurator.budgets.records import status_key, status_to_record
from procurator.errors import Fatal
from procurator.kafka import producer_config
from procurator.registry import Registry
from procurator.signals import event_of
from procurator.stream_processors.budgets.enforcement import Decisions, Said
from procurator.topics import BUDGET_STATUS, CONTROL, Topic


class Speaker:
    """Sends decisions; every method belongs to the event loop's thread.

    ``failed`` is called when something could not be said for good: then the worker must start anew, and find again
    what is to be said.
    """

    def __init__(
        self, bootstrap_servers: str, registry: Registry, events_topic: str, failed: Callable[[Exception], None]
    ) -> None:
        self._producer = Producer(producer_config(bootstrap_servers, **{"linger.ms": 0}))
        self._events_topic = events_topic
        self._failed = failed
        self._event_schema = load_schema("session_event")
        self._event_schema_id = registry.schema_id(self._event_schema)
        self._schemas = {topic: load_schema(topic.schema) for topic in (CONTROL, BUDGET_STATUS)}
        self._schema_ids = {topic: registry.schema_id(schema) for topic, schema in self._schemas.items()}

    async def say(self, decisions: Decisions, since_us: int) -> None:
        """Say all of it: first events, then, when Kafka has those, signals and statuses.

        ``since_us`` is when the first of what they follow from happened.
        """
        if decisions.events:
            for said in decisions.events:
                self._produce(self._events_topic, said.session.session_id.encode(), self._event(said))
            await asyncio.to_thread(self._producer.flush)
        for signal in decisions.signals:
            self._send(CONTROL, signal["session_id"].encode(), signal)
            metrics.SIGNAL_SECONDS.labels(signal["cause"]).observe((clock.now_us() - since_us) / 1e6)
        for status in decisions.statuses:
            key = status_key(status.budget.budget_id, status.period.start_us, status.session_id)
            self._send(BUDGET_STATUS, key, status_to_record(status))
        for key in decisions.forgotten:
            self._produce(BUDGET_STATUS.name, key, None)
        self._producer.poll(0)

    def poll(self) -> None:
        """Take notice of what was delivered."""
        self._producer.poll(0)

    def close(self, timeout_s: float) -> None:
        """Wait for what is under way, not for ever: what is lost is found again by whoever starts next."""
        self._producer.flush(timeout_s)

    def _event(self, said: Said) -> bytes:
        session = said.session
        event = event_of(
            said.emitter_id,
            session.owner._asdict(),
            session.session_id,
            said.payload,
            clock.now_us(),
            os.urandom(16),
        )
        return self._event_schema.encode(event, self._event_schema_id)

    def _send(self, topic: Topic, key: bytes, record: dict[str, Any]) -> None:
        self._produce(topic.name, key, self._schemas[topic].encode(record, self._schema_ids[topic]))

    def _produce(self, topic: str, key: bytes, value: bytes | None) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, on_delivery=self._delivered)
                return
            except BufferError:
                self._producer.poll(0.1)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failed(Fatal(f"{message.topic()}: could not be written: {error.str()}"))
