"""IO: Kafka as the signer reads it: every ledgered log, from where its tree ends."""

from collections.abc import Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from procurator.errors import Unavailable
from procurator.kafka import Topics, consumer_config
from procurator.leaf import log_id
from procurator.signer.trees import Inconsistent, LogTree, Record

TIMEOUT_S = 30.0
BATCH_RECORDS = 10_000

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
        self._topics = Topics(bootstrap_servers)
        self._accept_gaps = accept_gaps
        self._logs: dict[tuple[str, int], str] = {}
        self.at_end: set[str] = set()

    def close(self) -> None:
        self._consumer.close()

    def read(self, partitions: Partitions, trees: Mapping[str, LogTree]) -> None:
        """Read these logs too, each from its tree's next offset.

        Raises Inconsistent where Kafka ends before it, and where Kafka begins after it unless gaps are accepted.
        """
        bounds = self._topics.bounds(partitions)
        # Added to what is read, never assigned anew: librdkafka aborts the process when it is closed while a partition
        # is being taken away and given back (its issue 5573, mended after 2.12).
        self._consumer.incremental_assign(
            [
                TopicPartition(topic, partition, self._start(topic, partition, trees[log], *bounds[topic, partition]))
                for (topic, partition), log in partitions.items()
            ]
        )
        self._logs |= partitions

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
