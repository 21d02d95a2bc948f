"""IO: the ends of all logs, read by one consumer in a thread into the window that every endpoint reads."""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from procurator.errors import Unavailable
from procurator.forwarder.entries import Entry, Parser
from procurator.kafka import Place, consumer_config

_log = logging.getLogger(__name__)

_BATCH_MAX = 2_000
_POLL_S = 0.2
_RETRY_S = 1.0

#: Log id, what was read of it, and the offset after that.
Take = Callable[[list[tuple[str, list[Entry], int]]], None]


class LiveReader:
    """Reads from ``starts`` on, and hands over to ``take`` in the event loop, from `start` to `close`."""

    def __init__(
        self, bootstrap_servers: str, parser: Parser, logs: Mapping[Place, str], starts: Mapping[Place, int]
    ) -> None:
        self._parser = parser
        self._logs = logs
        overrides = {"fetch.wait.max.ms": 100, "queued.max.messages.kbytes": 32_768, "log_level": 0}
        self._consumer = Consumer(consumer_config(bootstrap_servers, "procurator-forward", **overrides))
        self._consumer.assign([TopicPartition(*place, start) for place, start in starts.items()])
        self._stop = threading.Event()
        self._failed: asyncio.Future[None] | None = None

    async def run(self, take: Take) -> None:
        """Read until cancelled. Raises Unavailable when a log has to be read anew from elsewhere."""
        loop = asyncio.get_running_loop()
        self._failed = loop.create_future()
        self._thread = threading.Thread(target=self._read, args=(loop, take), name="live", daemon=True)
        self._thread.start()
        try:
            await self._failed
        finally:
            self._stop.set()

    def close(self) -> None:
        """Stop reading; call it after `run` has ended."""
        self._stop.set()
        if self._failed is not None:
            self._thread.join()
        self._consumer.close()

    # --- in the thread

    def _read(self, loop: asyncio.AbstractEventLoop, take: Take) -> None:
        try:
            while not self._stop.is_set():
                first = self._consumer.poll(_POLL_S)  # `consume` would wait for a whole batch
                messages = [] if first is None else [first, *self._consumer.consume(_BATCH_MAX, 0)]
                if found := self._parsed(messages):
                    handed = threading.Event()
                    loop.call_soon_threadsafe(_hand_over, take, found, handed)
                    while not handed.wait(_POLL_S) and not self._stop.is_set():
                        pass  # so that what was read never piles up
        except KafkaException as error:
            loop.call_soon_threadsafe(self._fail, Unavailable(f"Kafka: {error.args[0].str()}"))
        except Exception as error:  # noqa: BLE001 - it is raised where `run` is awaited
            loop.call_soon_threadsafe(self._fail, error)

    def _parsed(self, messages: list[Message]) -> list[tuple[str, list[Entry], int]]:
        found: dict[str, tuple[list[Entry], int]] = {}
        for message in messages:
            if (error := message.error()) is not None:
                if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
                    raise Unavailable(f"Kafka: {error.str()}")
                if not error.retriable() and error.code() != KafkaError._ALL_BROKERS_DOWN:
                    _log.warning("Kafka: %s", error.str())
                continue
            log_id = self._logs[message.topic(), message.partition()]
            entries, _ = found.setdefault(log_id, ([], 0))
            if (entry := self._entry(log_id, message)) is not None:
                entries.append(entry)
            found[log_id] = entries, message.offset() + 1
        return [(log_id, entries, end) for log_id, (entries, end) in found.items()]

    def _entry(self, log_id: str, message: Message) -> Entry | None:
        place = message.topic(), message.partition()
        while not self._stop.is_set():
            try:
                return self._parser.entry(
                    *place, log_id, message.offset(), message.timestamp()[1] * 1000, message.value()
                )
            except Unavailable as error:  # a schema that has not been met before
                _log.warning("%s; trying again", error)
                self._stop.wait(_RETRY_S)
        return None

    def _fail(self, error: Exception) -> None:
        if self._failed is not None and not self._failed.done():
            self._failed.set_exception(error)


def _hand_over(take: Take, found: list[tuple[str, list[Entry], int]], handed: threading.Event) -> None:
    take(found)
    handed.set()
