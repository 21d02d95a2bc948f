"""IO: the prices topic as a `PriceBook` that is never out of date: read to its end, then followed.

Used alike by every component that prices events. A price change takes effect NOTICE_US after it was published, so a
book that was complete less than that ago has every price that may be in force. An older one must not be used: that is
an outage, and outages pause.
"""

import logging
import threading
from time import monotonic
from types import TracebackType
from typing import Self

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.errors import Rejected, Unavailable, UserError
from procurator.kafka import TIMEOUT_S, Topics, consumer_config
from procurator.price_codec import from_avro
from procurator.price_record import PriceRecord
from procurator.pricing import NOTICE_US, PriceBook
from procurator.registry import Registry
from procurator.topics import PRICES

_log = logging.getLogger(__name__)

_CHECK_EVERY_S = 10.0
_AGE_S_MAX = NOTICE_US / 1_000_000 - 3 * _CHECK_EVERY_S / 2
_POLL_S = 0.5
_BATCH_MAX = 1_000


class PriceFeed:
    """``with PriceFeed(bootstrap_servers, registry) as feed: … feed.book …`` from any thread.

    Entering reads the topic to its end and raises Unavailable while Kafka or the registry does not answer, UserError
    when there is no such topic.
    """

    def __init__(self, bootstrap_servers: str, registry: Registry, topic: str = PRICES.name) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._topic = topic
        self._decoder = Decoder(load_schema("price"), registry.fetch)
        self._consumer = Consumer(consumer_config(bootstrap_servers, "procurator-prices"))
        self._topics = Topics(bootstrap_servers)
        self._partitions: list[TopicPartition] = []
        self._book = PriceBook()
        self._complete_at_s = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="prices", daemon=True)

    @property
    def book(self) -> PriceBook:
        """The prices as of now. Raises Unavailable when the topic could not be read for so long that some may miss."""
        if monotonic() - self._complete_at_s > _AGE_S_MAX:
            raise Unavailable(f"prices: {self._topic} could not be read for {_AGE_S_MAX:.0f} s")
        return self._book

    def __enter__(self) -> Self:
        try:
            self._assign()
            while not self._complete():
                self._read()
        except BaseException:
            self._consumer.close()
            raise
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    def _assign(self) -> None:
        try:
            metadata = self._consumer.list_topics(self._topic, timeout=TIMEOUT_S).topics[self._topic]
        except KafkaException as error:
            raise self._unavailable(error) from error
        if metadata.error is not None and metadata.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise UserError(f"Kafka at {self._bootstrap_servers} has no topic {self._topic}: run `procurator setup`")
        self._partitions = [TopicPartition(self._topic, n, OFFSET_BEGINNING) for n in sorted(metadata.partitions)]
        self._consumer.assign(self._partitions)

    def _follow(self) -> None:
        while not self._stop.is_set():
            try:
                self._read()
                if monotonic() - self._complete_at_s > _CHECK_EVERY_S:
                    self._complete()
            except Unavailable as error:
                _log.warning("prices: %s; trying again", error)
                self._stop.wait(_POLL_S)

    def _read(self) -> None:
        """Take what has come into the book.

        On Unavailable the position goes back to before it: nothing is skipped.
        """
        messages = self._consumer.consume(_BATCH_MAX, _POLL_S)
        try:
            self._take([message for message in messages if message.error() is None])
        except Unavailable:
            for message in reversed(messages):
                if message.error() is None:
                    self._consumer.seek(TopicPartition(self._topic, message.partition(), message.offset()))
            raise

    def _take(self, messages: list[Message]) -> None:
        records: dict[bytes, PriceRecord | None] = {}
        for message in messages:
            key, value = message.key() or b"", message.value()
            try:
                records[key] = None if value is None else from_avro(self._decoder.decode(value))
            except Rejected as error:
                _log.warning("prices: offset %s is no price, the one before stays: %s", message.offset(), error)
        book = self._book
        for key, record in records.items():
            if record is None:
                book = book.without(key)
        if added := [record for record in records.values() if record is not None]:
            book = book.with_records(added)
        self._book = book

    def _complete(self) -> bool:
        """Tell whether the book holds all that the topic held when this was called."""
        asked_at_s = monotonic()
        bounds = self._topics.bounds((at.topic, at.partition) for at in self._partitions)
        try:
            positions = self._consumer.position(self._partitions)
        except KafkaException as error:
            raise self._unavailable(error) from error
        # A partition that was never read has no position, and needs none while it is empty.
        starts_ends = ((at.offset, *bounds[at.topic, at.partition]) for at in positions)
        if any(max(position, start) < end for position, start, end in starts_ends):
            return False
        self._complete_at_s = asked_at_s
        return True

    def _unavailable(self, error: KafkaException) -> Unavailable:
        return Unavailable(f"Kafka at {self._bootstrap_servers}: {error.args[0].str()}")
