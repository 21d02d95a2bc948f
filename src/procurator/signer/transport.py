"""IO: Kafka as the signer uses it: it reads every ledgered log, and writes control entries in transactions.

The transactional id is the ledger's: starting a signer fences every other one, whose next transaction fails.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from procurator.errors import Fatal, Unavailable
from procurator.kafka import client_config, consumer_config, producer_config
from procurator.leaf import log_id
from procurator.signer.trees import Inconsistent, LogTree, Record

TIMEOUT_S = 30.0
BATCH_RECORDS = 10_000

_FENCED = frozenset({KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED})

#: Topic and partition → log id.
Partitions = Mapping[tuple[str, int], str]


def partitions_of(described: Mapping[str, tuple[str, int]]) -> dict[tuple[str, int], str]:
    """Return the logs of the topics that ``Topics.describe`` found."""
    return {
        (topic, partition): log_id(topic_id, partition)
        for topic, (topic_id, count) in described.items()
        for partition in range(count)
    }


class LogReader:
    """Reads logs from where their trees end."""

    def __init__(self, bootstrap_servers: str, accept_gaps: bool) -> None:
        config = consumer_config(bootstrap_servers, "procurator-signer", **{"enable.partition.eof": True})
        self._consumer = Consumer({**config, "queued.max.messages.kbytes": 65_536})
        self._admin = AdminClient(client_config(bootstrap_servers))
        self._accept_gaps = accept_gaps
        self._logs: dict[tuple[str, int], str] = {}
        self.at_end: set[str] = set()

    def close(self) -> None:
        self._consumer.close()

    def assign(self, partitions: Partitions, trees: Mapping[str, LogTree]) -> None:
        """Read these logs, each from its tree's next offset.

        Raises Inconsistent where Kafka ends before it, and where Kafka begins after it unless gaps are accepted.
        """
        self._logs = dict(partitions)
        self.at_end = set()
        bounds = self._bounds(partitions)
        self._consumer.assign(
            [
                TopicPartition(topic, partition, self._start(topic, partition, trees[log], *bounds[topic, partition]))
                for (topic, partition), log in partitions.items()
            ]
        )

    def _bounds(self, partitions: Partitions) -> dict[tuple[str, int], tuple[int, int]]:
        """Return where each partition begins and ends."""
        return {
            place: (low, high)
            for (place, low), high in zip(
                self._offsets(partitions, OffsetSpec.earliest()).items(),
                self._offsets(partitions, OffsetSpec.latest()).values(),
                strict=True,
            )
        }

    def _offsets(self, partitions: Partitions, spec: OffsetSpec) -> dict[tuple[str, int], int]:
        wanted = {TopicPartition(topic, partition): spec for topic, partition in partitions}
        futures = self._admin.list_offsets(wanted, request_timeout=TIMEOUT_S)
        try:
            found = {(place.topic, place.partition): future.result().offset for place, future in futures.items()}
        except KafkaException as error:
            raise Unavailable(f"Kafka: {error.args[0].str()}") from error
        return {place: found[place] for place in partitions}

    def _start(self, topic: str, partition: int, tree: LogTree, low: int, high: int) -> int:
        where = f"{topic}[{partition}] (log {tree.log_id})"
        if high < tree.next_offset:
            raise Inconsistent(f"{where} ends at offset {high}, but records up to {tree.next_offset - 1} were signed")
        if low <= tree.next_offset:
            return tree.next_offset
        if not self._accept_gaps:
            raise Inconsistent(
                f"{where} begins at offset {low}, but {tree.next_offset} was to be signed next: Kafka has deleted what "
                "was not signed. `procurator sign --accept-gaps` goes on without it; the ledger then has it unsigned"
            )
        return low

    def poll(self, timeout_s: float) -> dict[str, list[Record]]:
        """Return the records that came, by log; `at_end` has the logs whose end was reached."""
        try:
            messages = self._consumer.consume(BATCH_RECORDS, timeout_s)
        except KafkaException as error:
            raise Unavailable(f"Kafka: {error.args[0].str()}") from error
        batches: dict[str, list[Record]] = {}
        for message in messages:
            log = self._logs.get((message.topic(), message.partition()))
            if message.error() is not None:
                self._judge(message, log)
            elif log is not None:
                batches.setdefault(log, []).append(
                    Record(message.offset(), message.timestamp()[1] * 1000, message.key(), message.value())
                )
        return batches

    def _judge(self, message: Message, log: str | None) -> None:
        error = message.error()
        if error.code() == KafkaError._PARTITION_EOF:
            if log is not None:
                self.at_end.add(log)
        elif error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            raise Inconsistent(f"{message.topic()}[{message.partition()}]: {error.str()}: Kafka has deleted records")
        else:
            raise Unavailable(f"Kafka: {error.str()}")


class ControlWriter:
    """Writes the control log and publishes checkpoints. Raises Fatal once another signer has taken over."""

    def __init__(self, bootstrap_servers: str, ledger_id: str) -> None:
        self._producer = Producer(
            producer_config(
                bootstrap_servers,
                **{"transactional.id": f"procurator-signer-{ledger_id}", "transaction.timeout.ms": 60_000},
            )
        )
        self._do(self._producer.init_transactions, TIMEOUT_S)

    def write(self, topic: str, records: Iterable[tuple[bytes | None, bytes]]) -> None:
        """Write (key, value) pairs to partition 0 in one transaction: all of them or none."""
        self._do(self._producer.begin_transaction)
        for key, value in records:
            self._do(self._producer.produce, topic, value, key, 0)
        self._do(self._producer.commit_transaction, TIMEOUT_S)

    def _do(self, step: Any, *arguments: Any) -> None:
        try:
            step(*arguments)
        except (KafkaException, BufferError) as error:
            reason = error.args[0]
            if isinstance(reason, KafkaError) and reason.code() in _FENCED:
                raise Fatal("another signer of this ledger has started: this one stops") from error
            raise Unavailable(f"Kafka: {reason.str() if isinstance(reason, KafkaError) else reason}") from error
