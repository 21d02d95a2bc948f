"""IO: topics that are read whole, from their start, by everyone who needs them: definitions, counters, signals.

One consumer without a group reads every partition, so every process sees everything; a Faust global table would do the
same through a changelog of its own. Reading is a thread's; what it reads is handed over in batches.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from typing import NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from procurator.avro_schemas.codec import Decoder, Record, load_schema
from procurator.errors import Rejected, Unavailable, UserError
from procurator.kafka import TIMEOUT_S, Place, Topics, consumer_config
from procurator.registry import Registry
from procurator.topics import Topic

_log = logging.getLogger(__name__)

_BATCH_MAX = 5_000
_POLL_S = 0.2
_RETRY_S = 0.5
_CHECK_S = 0.005


class Heard(NamedTuple):
    """One record: its topic, its partition, its key, and what it says; None is a tombstone."""

    topic: Topic
    partition: int
    key: bytes
    record: Record | None


class TopicFeed:
    """Hands what the topics say to ``take``, in a thread of its own, from `start` to `close`."""

    def __init__(
        self,
        bootstrap_servers: str,
        registry: Registry,
        topics: Iterable[Topic],
        take: Callable[[list[Heard]], None],
    ) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._take = take
        self._topics = {topic.name: topic for topic in topics}
        self._decoders = {topic.name: Decoder(load_schema(topic.schema), registry.fetch) for topic in topics}
        overrides = {"enable.partition.eof": True, "fetch.wait.max.ms": 100}
        self._consumer = Consumer(consumer_config(bootstrap_servers, "procurator-feed", **overrides))
        self._cluster = Topics(bootstrap_servers)
        #: Everything below was handed over, by topic and partition.
        self._handed: dict[Place, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="feed", daemon=True)

    def start(self) -> None:
        """Begin to read. Raises Unavailable while Kafka does not answer, UserError when a topic is missing."""
        try:
            known = self._consumer.list_topics(timeout=TIMEOUT_S).topics
        except KafkaException as error:
            raise self._unavailable(error.args[0]) from error
        for name in self._topics:
            if name not in known:
                raise UserError(f"Kafka at {self._bootstrap_servers} has no topic {name}: run `procurator setup`")
        self._handed = {(name, n): 0 for name in self._topics for n in known[name].partitions}
        self._consumer.assign([TopicPartition(name, n, OFFSET_BEGINNING) for name, n in self._handed])
        self._thread.start()

    def catch_up(self, topics: Iterable[Topic] | None = None) -> None:
        """Return once all was handed over that ``topics`` (or all) held when this was called.

        Waits while Kafka is away. Raises Unavailable on `close`.
        """
        names = self._topics.keys() if topics is None else {topic.name for topic in topics}
        ends = self._ends([place for place in self._handed if place[0] in names])
        while any(self._handed[place] < end for place, end in ends.items()):
            if self._stop.wait(_CHECK_S):
                raise Unavailable("closed while catching up")

    def close(self) -> None:
        """Stop reading."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._consumer.close()

    def _ends(self, places: list[Place]) -> dict[Place, int]:
        """Return the end of each partition; 0 of one that holds nothing. Raises Unavailable on `close`."""
        while True:
            try:
                bounds = self._cluster.bounds(places)
                return {place: end if end > start else 0 for place, (start, end) in bounds.items()}
            except Unavailable as error:
                _log.warning("%s; trying again", error)
                if self._stop.wait(_RETRY_S):
                    raise

    def _follow(self) -> None:
        while not self._stop.is_set():
            first = self._consumer.poll(_POLL_S)  # `consume` would wait for a whole batch
            messages = [] if first is None else [first, *self._consumer.consume(_BATCH_MAX, 0)]
            while messages and not self._stop.is_set():
                try:
                    self._hand_over(messages)
                    break
                except Unavailable as error:  # the registry is away: nothing of these was handed over yet
                    _log.warning("%s; trying again", error)
                    self._stop.wait(_RETRY_S)

    def _hand_over(self, messages: list[Message]) -> None:
        heard: list[Heard] = []
        reached: dict[Place, int] = {}
        for message in messages:
            error = message.error()
            place = message.topic(), message.partition()
            if error is None:
                heard += self._heard(message)
                reached[place] = message.offset() + 1
            elif error.code() == KafkaError._PARTITION_EOF:
                reached[place] = message.offset()
            else:
                _log.warning("%s", self._unavailable(error))
        if heard:
            self._take(heard)
        self._handed.update(reached)

    def _heard(self, message: Message) -> Iterable[Heard]:
        name, value = message.topic(), message.value()
        try:
            record = None if value is None else self._decoders[name].decode(value)
        except Rejected as error:
            _log.warning("%s %s offset %s is passed over: %s", name, message.partition(), message.offset(), error)
            return
        yield Heard(self._topics[name], message.partition(), message.key() or b"", record)

    def _unavailable(self, error: KafkaError) -> Unavailable:
        return Unavailable(f"Kafka at {self._bootstrap_servers}: {error.str()}")
