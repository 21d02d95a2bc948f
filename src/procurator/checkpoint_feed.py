"""IO: the last published checkpoints, followed in the background, for whoever serves proofs."""

import logging
import threading
from collections import deque
from time import monotonic
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.errors import Rejected, Unavailable
from procurator.kafka import TIMEOUT_S, client_config, consumer_config
from procurator.registry import Registry
from procurator.topics import CHECKPOINTS

log = logging.getLogger(__name__)

#: So many are kept: the tables may be some checkpoints behind.
NOTES_MAX = 100
_POLL_S = 0.5
_FIRST_S = 5.0


class CheckpointFeed:
    """The newest notes, ascending. The thread starts with the first question and ends with `close`."""

    def __init__(self, bootstrap_servers: str, registry: Registry) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._decoder = Decoder(load_schema(CHECKPOINTS.schema), registry.fetch)
        self._notes: deque[bytes] = deque(maxlen=NOTES_MAX)
        self._first = threading.Event()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._patient_until_s = 0.0

    def notes(self) -> list[bytes]:
        """Return the last published notes. Raises Unavailable when none could be read yet.

        The first questions wait for the topic to be read; after that, where nothing was signed, nobody waits.
        """
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._follow, name="checkpoints", daemon=True)
                self._thread.start()
                self._patient_until_s = monotonic() + _FIRST_S
        if not self._first.wait(max(0.0, self._patient_until_s - monotonic())):
            raise Unavailable("no checkpoint has been published yet, or Kafka does not answer")
        return list(self._notes)

    def close(self) -> None:
        """Stop following."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _follow(self) -> None:
        while not self._stop.is_set():
            consumer = Consumer(consumer_config(self._bootstrap_servers, "procurator-checkpoints"))
            try:
                self._assign(consumer)
                while not self._stop.is_set():
                    self._take(consumer.consume(NOTES_MAX, _POLL_S))
            except (KafkaException, Unavailable) as error:
                log.warning("checkpoints: %s; reading them again", error)
                self._stop.wait(_POLL_S)
            finally:
                consumer.close()

    def _assign(self, consumer: Consumer) -> None:
        admin = AdminClient(client_config(self._bootstrap_servers))
        # The signer publishes to partition 0. The end of the topic counts the marks of transactions too.
        place = TopicPartition(CHECKPOINTS.name, 0)
        bounds = []
        for spec in (OffsetSpec.earliest(), OffsetSpec.latest()):
            (future,) = admin.list_offsets({place: spec}, request_timeout=TIMEOUT_S).values()
            bounds.append(future.result().offset)
        place.offset = max(bounds[0], bounds[1] - 2 * NOTES_MAX)
        consumer.assign([place])

    def _take(self, messages: list[Any]) -> None:
        for message in messages:
            if message.error() is not None:
                if message.error().code() == KafkaError._PARTITION_EOF:
                    continue
                raise Unavailable(message.error().str())
            try:
                note = self._decoder.decode(message.value())["note"].encode()
            except Rejected as error:
                log.warning("checkpoints: offset %d is none: %s", message.offset(), error)
                continue
            self._notes.append(note)
            self._first.set()
