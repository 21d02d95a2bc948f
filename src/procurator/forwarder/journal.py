"""IO: how far each endpoint is, written to Kafka before anything is sent; one forwarder writes at a time.

The transactional id is the forwarder's: starting one fences every other, whose next transaction fails. So no two give
the same numbers to different entries. What couriers write at about the same time shares a transaction.
"""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from procurator.avro_schemas.codec import load_schema
from procurator.kafka_transactions import Outgoing, TransactionalWriter
from procurator.registry import Registry
from procurator.topics import WEBHOOK_DEAD_LETTERS, WEBHOOK_STATE, Topic

_TRANSACTIONAL_ID = "procurator-forward"


class Change(NamedTuple):
    """One record to be written; None forgets what the key stood for."""

    topic: Topic
    key: str
    record: Mapping[str, Any] | None


class Journal:
    """`open` it, let `run` run, and `write`.

    `open` and `run` raise Unavailable, and Fatal once another forwarder has started; `write` then waits for ever.
    """

    def __init__(self, bootstrap_servers: str, registry: Registry) -> None:
        self._writer = TransactionalWriter(bootstrap_servers, _TRANSACTIONAL_ID, "forwarder")
        self._registry = registry
        self._waiting: list[tuple[tuple[Change, ...], asyncio.Future[None]]] = []
        self._news = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "journal")

    def open(self) -> None:
        """Fence every other forwarder; blocks."""
        topics = (WEBHOOK_STATE, WEBHOOK_DEAD_LETTERS)
        schemas = {topic: load_schema(topic.schema) for topic in topics}
        self._schemas = {topic: (schema, self._registry.schema_id(schema)) for topic, schema in schemas.items()}
        self._writer.open()

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
        self._writer.write(Outgoing(topic.name, key, self._encoded(topic, record)) for topic, key, record in changes)

    def _encoded(self, topic: Topic, record: Mapping[str, Any] | None) -> bytes | None:
        schema, schema_id = self._schemas[topic]
        return None if record is None else schema.encode(record, schema_id)
