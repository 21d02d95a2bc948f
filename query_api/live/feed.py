"""IO: the ends of the three topics, read by one consumer in a thread, for everybody in this process who listens.

It begins with the first listener and ends a while after the last one: an API that nobody watches reads nothing.
It begins where the tables end, not where Kafka does: what lies between is in the ring, so a listener joins at once.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from functools import partial
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from procurator.avro_schemas.codec import HEADER, UnknownSchema
from procurator.errors import ProcuratorError, Rejected, Unavailable
from procurator.kafka import Bounds, Place, Topics, consumer_config
from procurator.leaf import log_id
from procurator.partitioner import partition_of
from procurator.query_api.live.follow import Offsets
from procurator.query_api.live.hub import Hub
from procurator.query_api.live.records import DELTA, EVENT, KINDS, STATE, LiveRecord, session_id_of
from procurator.query_api.live.views import Views

_log = logging.getLogger(__name__)

#: Well below what may wait for one listener: each can take one batch before the next comes.
_BATCH_MAX = 500
_POLL_S = 0.2
_FETCH = {"fetch.wait.max.ms": 100, "log_level": 0}
_RETRY_S = 1.0
#: Further back than this the tables are left to catch up by themselves.
_BACK_MAX = 20_000
#: So many pieces of turns are read again, so that a turn in the midst of its writing shows its beginning.
_DELTAS_BACK = 1_000

#: Log ids of events and states → up to where the tables have them.
Heads = Callable[[Iterable[str], Iterable[str]], Coroutine[Any, Any, Offsets]]


class Feed:
    """Reads for ``hub`` in its event loop, between `start` and `stop`, whatever becomes of Kafka meanwhile."""

    def __init__(self, bootstrap_servers: str, views: Views, hub: Hub, heads: Heads) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._views = views
        self._hub = hub
        self._heads = heads
        self._known_schemas: set[tuple[str, int]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to read; called in the event loop. Does nothing when it reads already."""
        if self._thread is None:
            self._loop = asyncio.get_running_loop()
            self._stop = threading.Event()
            self._thread = threading.Thread(target=self._run, args=(self._stop,), name="live-feed", daemon=True)
            self._thread.start()

    async def stop(self) -> None:
        """Stop reading."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stop.set()
            await asyncio.to_thread(thread.join)

    # --- in the thread

    def _run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            consumer = None
            try:
                log_ids, starts = self._open()
                consumer = Consumer(consumer_config(self._bootstrap_servers, "procurator-live", **_FETCH))
                consumer.assign([TopicPartition(*place, start) for place, start in starts.items()])
                self._in_loop(stop, partial(self._hub.begin, _by_kind(log_ids, starts)))
                self._read(consumer, log_ids, stop)
            except (ProcuratorError, KafkaException) as error:
                _log.warning("live: %s; beginning again", error)
                stop.wait(_RETRY_S)
            finally:
                if consumer is not None:
                    consumer.close()

    def _open(self) -> tuple[dict[Place, str], dict[Place, int]]:
        """Return the log of each partition, and where to begin: where the tables end; of deltas, the last ones."""
        topics = Topics(self._bootstrap_servers)
        described = topics.describe(KINDS)
        if missing := KINDS.keys() - described.keys():
            raise Unavailable(f"Kafka has no topic {min(missing)} yet: run `procurator setup`")
        log_ids = {
            (name, n): log_id(topic_id, n) for name, (topic_id, count) in described.items() for n in range(count)
        }
        bounds = topics.bounds(log_ids)
        assert self._loop is not None
        logs = {kind: [log_ids[at] for at in log_ids if KINDS[at[0]] == kind] for kind in (EVENT, STATE)}
        heads = asyncio.run_coroutine_threadsafe(self._heads(logs[EVENT], logs[STATE]), self._loop).result()
        return log_ids, {at: _start(KINDS[at[0]], heads.get(log_ids[at], 0), bounds[at]) for at in log_ids}

    def _read(self, consumer: Consumer, log_ids: dict[Place, str], stop: threading.Event) -> None:
        partitions = sum(KINDS[topic] == EVENT for topic, _ in log_ids)
        while not stop.is_set():
            first = consumer.poll(_POLL_S)  # `consume` would wait for a whole batch
            messages = [] if first is None else [first, *consumer.consume(_BATCH_MAX, 0)]
            records = [record for message in messages if (record := self._record(message, log_ids, partitions, stop))]
            if records:
                self._in_loop(stop, partial(self._hub.take, records))

    def _record(
        self, message: Message, log_ids: dict[Place, str], partitions: int, stop: threading.Event
    ) -> LiveRecord | None:
        """Return what a message carries, None for what is no session's: tombstones, rejected and misplaced records."""
        if (error := message.error()) is not None:
            if error.code() == KafkaError._AUTO_OFFSET_RESET:  # what we were to read is gone: begin where there is more
                raise Unavailable(f"Kafka: {error.str()}")
            if not error.retriable() and error.code() != KafkaError._ALL_BROKERS_DOWN:
                _log.warning("live: %s", error.str())
            return None
        value, place = message.value(), (message.topic(), message.partition())
        kind = KINDS[place[0]]
        if value is None or not self._meets_schema(kind, value, stop):
            return None
        session_id = session_id_of(kind, value)
        if session_id is None or (kind == EVENT and partition_of(session_id, partitions) != place[1]):
            return None
        time_us = message.timestamp()[1] * 1000
        return LiveRecord(kind, place[1], log_ids[place], message.offset(), time_us, message.key(), value, session_id)

    def _meets_schema(self, kind: str, value: bytes, stop: threading.Event) -> bool:
        """Fetch a schema that has not been met before, here, so that decoding never waits for the registry."""
        if len(value) < HEADER.size:
            return False
        schema = kind, HEADER.unpack_from(value)[1]
        while schema not in self._known_schemas and not stop.is_set():
            try:
                self._views.decoders[kind].decode(value)
                self._known_schemas.add(schema)
            except UnknownSchema:
                return False
            except Rejected:
                self._known_schemas.add(schema)
            except Unavailable as error:
                _log.warning("live: %s; trying again", error)
                stop.wait(_RETRY_S)
        return True

    def _in_loop(self, stop: threading.Event, work: Callable[[], None]) -> None:
        """Do ``work`` in the event loop and wait for it, so that what was read never piles up."""
        done: Future[None] = Future()

        def run() -> None:
            try:
                if not stop.is_set():  # one that was stopped has nothing to say any more
                    work()
                done.set_result(None)
            except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
                done.set_exception(error)

        assert self._loop is not None
        self._loop.call_soon_threadsafe(run)
        while not stop.is_set():
            try:
                done.result(_POLL_S)
                return
            except TimeoutError:
                continue


def _start(kind: str, head: int, bounds: Bounds) -> int:
    first, end = bounds
    back = _DELTAS_BACK if kind == DELTA else _BACK_MAX
    return max(first, end - back, min(head, end))


def _by_kind(log_ids: dict[Place, str], starts: dict[Place, int]) -> dict[str, dict[int, tuple[str, int]]]:
    found: dict[str, dict[int, tuple[str, int]]] = {kind: {} for kind in KINDS.values()}
    for (topic, partition), name in log_ids.items():
        found[KINDS[topic]][partition] = name, starts[topic, partition]
    return found
