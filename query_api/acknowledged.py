"""IO: a Kafka producer for asyncio: `send` returns when the brokers have acknowledged the record.

One producer and one thread serve the whole process, so that records of concurrent requests share a batch and each
waits for one round trip, not for its turn.
"""

import asyncio
import threading

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from procurator.errors import Unavailable
from procurator.kafka import producer_config

#: A record that is not acknowledged by then is given up: somebody waits for an answer.
TIMEOUT_MS = 10_000
_POLL_S = 0.2
_CLOSE_S = 3.0


class AcknowledgedProducer:
    """Made when it is needed first. `close` it; what was not acknowledged by then may be lost, and its sender told."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._producer: Producer | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="acknowledgements", daemon=True)

    async def send(self, topic: str, key: str, value: bytes | None) -> None:
        """Write one record, None being a tombstone; return when it is acknowledged.

        Raises Unavailable when it is not within `TIMEOUT_MS`.
        """
        loop = asyncio.get_running_loop()
        acknowledged: asyncio.Future[KafkaError | None] = loop.create_future()

        def settle(error: KafkaError | None) -> None:
            if not acknowledged.done():  # cancelled with its request
                acknowledged.set_result(error)

        def delivered(error: KafkaError | None, _message: Message) -> None:
            loop.call_soon_threadsafe(settle, error)

        try:
            self._open().produce(topic, value, key, on_delivery=delivered)
        except (BufferError, KafkaException) as error:
            raise Unavailable(f"Kafka at {self._bootstrap_servers}: {error}") from error
        refused = await acknowledged
        if refused is not None:
            raise Unavailable(f"Kafka at {self._bootstrap_servers}: {refused.str()}")

    def close(self) -> None:
        """Wait for what is under way, then stop."""
        self._stop.set()
        if self._producer is not None:
            self._thread.join()
            self._producer.flush(_CLOSE_S)

    def _open(self) -> Producer:
        """Return the producer; called on the event loop alone, so two are never made."""
        if self._producer is None:
            overrides = {"linger.ms": 0, "message.timeout.ms": TIMEOUT_MS, "log_level": 0}
            self._producer = Producer(producer_config(self._bootstrap_servers, **overrides))
            self._thread.start()
        return self._producer

    def _poll(self) -> None:
        assert self._producer is not None
        while not self._stop.is_set():
            self._producer.poll(_POLL_S)
