"""IO: one partition of the state topic as the changelog of that partition's sessions. Transactions fence out zombies.

The counters of budgets are in the partition of the same number of the spend topic, written in the same transactions.

The state topic carries full snapshots, so it is the changelog as well: what others see is what we recover from. Who
opens a partition's log takes its transactional id over. From then on a former owner that wakes up can append nothing,
and what it had begun is aborted: a stale state can never stand after, or compact away, a later one.
"""

import threading
from collections.abc import Callable, Iterable
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition

from procurator.errors import Fatal, Unavailable
from procurator.kafka import consumer_config, producer_config
from procurator.topics import BUDGET_SPEND

_WAIT_S = 1.0
_RESTORE_BATCH = 1_000
_RESTORE_WAIT_S = 0.05
#: Kafka sends faster than states are taken: without these bounds hundreds of megabytes would wait in memory.
_RESTORE = {
    "enable.partition.eof": True,
    "fetch.wait.max.ms": 10,
    "fetch.message.max.bytes": 1 << 20,
    "fetch.max.bytes": 4 << 20,
    "queued.max.messages.kbytes": 8 << 10,
}
#: What librdkafka says of a Kafka that does not answer, without calling it worth another try.
_AWAY = frozenset({KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._TIMED_OUT})

#: Takes one record: its key, and its value or None for one that is no more.
Take = Callable[[bytes, bytes | None], None]


class StateLog:
    """The state topic's partition, ours from `open` until somebody else opens it. Blocking; one thread at a time.

    `close` may be called from another thread: what runs then raises Unavailable soon.
    """

    def __init__(self, bootstrap_servers: str, group_id: str, topic: str, partition: int) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._group_id = group_id
        self._topic = topic
        self._partition = partition
        self._closed = threading.Event()
        self._producer = Producer(
            producer_config(
                bootstrap_servers,
                **{
                    "transactional.id": f"{group_id}/{topic}/{partition}",
                    # A machine that died in a transaction holds readers back no longer than this.
                    "transaction.timeout.ms": 10_000,
                    "message.timeout.ms": 10_000,
                    "queue.buffering.max.messages": 1_000_000,
                },
            )
        )

    def open(self, take: Take) -> None:
        """Fence out former owners, then hand the partition's records, the latest of a session last, to ``take``.

        Raises Unavailable when `close` was called, Fatal when Kafka refuses, and what ``take`` raises.
        """
        self._insist(lambda: self._producer.init_transactions(_WAIT_S))
        self._restore(self._topic, take)

    def counters(self) -> list[bytes]:
        """Return the counters that were published with the states, encoded; raises what `open` does."""
        found: dict[bytes, bytes] = {}

        def take(key: bytes, value: bytes | None) -> None:
            if value is None:
                found.pop(key, None)
            else:
                found[key] = value

        self._restore(BUDGET_SPEND.name, take)
        return list(found.values())

    def publish(self, states: Iterable[tuple[str, bytes]], counters: Iterable[tuple[bytes, bytes | None]] = ()) -> None:
        """Append states and counters (None: no more) in one transaction; when this returns they are acknowledged.

        Waits while Kafka is away. Raises Fatal when the partition belongs to another worker now, Unavailable when
        `close` was called.
        """
        records: list[tuple[str, bytes, bytes | None]] = []
        records += ((self._topic, session_id.encode(), value) for session_id, value in states)
        records += ((BUDGET_SPEND.name, key, value) for key, value in counters)
        while not self._attempt(records):
            self._insist(lambda: self._producer.abort_transaction(_WAIT_S))

    def close(self) -> None:
        """Stop what runs, and be done."""
        self._closed.set()
        self._producer.purge(in_queue=True, in_flight=True, blocking=False)

    def _attempt(self, records: list[tuple[str, bytes, bytes | None]]) -> bool:
        """Try the transaction once; return False when it is to be aborted and tried again."""
        try:
            self._producer.begin_transaction()
            for topic, key, value in records:
                self._produce(topic, key, value)
            self._insist(lambda: self._producer.commit_transaction(_WAIT_S))
        except KafkaException as error:
            if not error.args[0].txn_requires_abort():
                raise self._fatal(error) from error
            return False
        return True

    def _produce(self, topic: str, key: bytes, value: bytes | None) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, self._partition)
                return
            except BufferError:
                self._raise_if_closed()
                self._producer.poll(_WAIT_S)

    def _insist(self, call: Any) -> None:
        """Repeat ``call`` while Kafka is away. Raises KafkaException when the transaction is to be aborted."""
        while True:
            self._raise_if_closed()
            try:
                call()
                return
            except KafkaException as error:
                reason: KafkaError = error.args[0]
                if reason.txn_requires_abort():
                    raise
                if not (reason.retriable() or reason.code() in _AWAY):
                    raise self._fatal(error) from error

    def _restore(self, topic: str, take: Take) -> None:
        """Read the partition from its start to its end: nobody else appends any more."""
        consumer = Consumer(consumer_config(self._bootstrap_servers, f"{self._group_id}-restore", **_RESTORE))
        start = TopicPartition(topic, self._partition, OFFSET_BEGINNING)
        try:
            # Asking first makes the client connect: assigning alone leaves it waiting for its next second.
            self._insist(lambda: consumer.get_watermark_offsets(start, _WAIT_S))
            consumer.assign([start])
            while True:
                for message in consumer.consume(_RESTORE_BATCH, _RESTORE_WAIT_S):
                    error = message.error()
                    if error is None:
                        take(message.key() or b"", message.value())
                    elif error.code() == KafkaError._PARTITION_EOF:
                        return
                    elif not error.retriable():
                        raise Fatal(f"{topic} {self._partition} cannot be read: {error.str()}")
                self._raise_if_closed()
        finally:
            consumer.close()

    def _raise_if_closed(self) -> None:
        if self._closed.is_set():
            raise Unavailable(f"{self._topic} {self._partition}: given up")

    def _fatal(self, error: KafkaException) -> Fatal:
        return Fatal(f"{self._topic} {self._partition} belongs to another worker now, or {error.args[0].str()}")
