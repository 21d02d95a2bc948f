"""IO: how far each endpoint is, written to Kafka before anything is sent; one forwarder writes at a time.

The transactional id is the forwarder's: starting one fences every other, whose next transaction fails. So no two give
the same numbers to different entries. What couriers write at about the same time shares a transaction.
"""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Producer

from procurator.avro_schemas.codec import load_schema
from procurator.errors import Fatal, Unavailable
from procurator.kafka import producer_config
from procurator.registry import Registry
from procurator.topics import WEBHOOK_DEAD_LETTERS, WEBHOOK_STATE, Topic

TIMEOUT_S = 30.0
_TRANSACTIONAL_ID = "procurator-forward"
_FENCED = frozenset({KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED})


class Change(NamedTuple):
    """One record to be written; None forgets what the key stood for."""

    topic: Topic
    key: str
    record: Mapping[str, Any] | None


class Journal:
    """`open` it, let `run` run, and `write`. Raises Unavailable, and Fatal once another forwarder has started."""

    def __init__(self, bootstrap_servers: str, registry: Registry) -> None:
        overrides = {"transactional.id": _TRANSACTIONAL_ID, "transaction.timeout.ms": 60_000, "linger.ms": 0}
        self._producer = Producer(producer_config(bootstrap_servers, **overrides))
        self._registry = registry
        self._waiting: list[tuple[tuple[Change, ...], asyncio.Future[None]]] = []
        self._news = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "journal")

    def open(self) -> None:
        """Fence every other forwarder; blocks."""
        topics = (WEBHOOK_STATE, WEBHOOK_DEAD_LETTERS)
        schemas = {topic: load_schema(topic.schema) for topic in topics}
        self._schemas = {topic: (schema, self._registry.schema_id(schema)) for topic, schema in schemas.items()}
        self._do(self._producer.init_transactions, TIMEOUT_S)

    async def write(self, *changes: Change) -> None:
        """Write the changes, all or none; return when they are committed."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((changes, written))
        self._news.set()
        await written

    async def run(self) -> None:
        """Commit what is waiting, again and again, until cancelled or until Kafka fails."""
        loop = asyncio.get_running_loop()
        while True:
            await self._news.wait()
            self._news.clear()
            waiting, self._waiting = self._waiting, []
            await loop.run_in_executor(self._thread, self._commit, [each for all_, _ in waiting for each in all_])
            for _, written in waiting:
                if not written.done():  # cancelled with its courier
                    written.set_result(None)

    def close(self) -> None:
        """Stop; what was not committed is not there."""
        self._thread.shutdown()

    def _commit(self, changes: list[Change]) -> None:
        self._do(self._producer.begin_transaction)
        for topic, key, record in changes:
            schema, schema_id = self._schemas[topic]
            value = None if record is None else schema.encode(record, schema_id)
            self._do(self._producer.produce, topic.name, value, key, 0)
        self._do(self._producer.commit_transaction, TIMEOUT_S)

    def _do(self, step: Any, *arguments: Any) -> None:
        try:
            step(*arguments)
        except (KafkaException, BufferError) as error:
            reason = error.args[0]
            if isinstance(reason, KafkaError) and reason.code() in _FENCED:
                raise Fatal("another forwarder has started: this one stops") from error
            raise Unavailable(f"Kafka: {reason.str() if isinstance(reason, KafkaError) else reason}") from error
