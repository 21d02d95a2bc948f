"""IO: pointers to records that could not be processed. The records themselves are entries of the ledger."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from procurator import metrics
from procurator.avro_schemas.codec import SchemaMismatch, Undecodable, UnknownSchema, load_schema
from procurator.errors import Fatal, Unavailable
from procurator.events import RuleBroken
from procurator.kafka import producer_config
from procurator.registry import Registry
from procurator.sink.blocks import RejectedRecord
from procurator.sink.ledger import Log
from procurator.topics import DEAD_LETTER

#: What the parsers of ledgered records raise.
REASONS = tuple(kind.reason for kind in (Undecodable, UnknownSchema, SchemaMismatch, RuleBroken))
_FLUSH_S = 30.0
#: Of a key that is longer a pointer has the beginning: with all of it, it could be too long for Kafka.
KEY_BYTES_MAX = 4_096


def pointer_key(log_id: str, offset: int) -> bytes:
    """Return the key of a record's pointer: the same pointer sent again after a crash has the same key."""
    return f"{log_id}@{offset}".encode()


def pointer(log: Log, rejected: RejectedRecord) -> dict[str, Any]:
    """Return the raw record of dead_letter.avsc for a record that was rejected."""
    record = rejected.record
    value = record.value or b""
    return {
        "source_topic": log.topic,
        "log_id": log.log_id,
        "partition": log.partition,
        "offset": record.offset,
        "broker_time": record.broker_time_us,
        "key": record.key and record.key[:KEY_BYTES_MAX],
        "reason": rejected.reason,
        "message": rejected.message,
        "value_sha256": hashlib.sha256(value).digest(),
        "value_bytes": len(value),
    }


class DeadLetters:
    """Sends pointers; ``send`` returns when Kafka has confirmed them all. One thread at a time."""

    def __init__(self, bootstrap_servers: str, registry: Registry) -> None:
        self._producer = Producer(producer_config(bootstrap_servers))
        self._registry = registry
        self._schema = load_schema("dead_letter")
        self._schema_id: int | None = None
        self._failed: KafkaError | None = None
        for reason in REASONS:
            metrics.DEAD_LETTERS.labels(reason)

    def send(self, pointers: Iterable[Mapping[str, Any]]) -> None:
        """Publish pointers. Raises Unavailable when registry or Kafka is away: some may have been sent, send again."""
        self._failed = None
        for record in pointers:
            if self._schema_id is None:
                self._schema_id = self._registry.schema_id(self._schema)
            key, value = pointer_key(record["log_id"], record["offset"]), self._schema.encode(record, self._schema_id)
            self._produce(key, value)
            metrics.DEAD_LETTERS.labels(record["reason"]).inc()
        if left := self._producer.flush(_FLUSH_S):
            raise Unavailable(f"Kafka did not confirm {left} dead-letter pointers within {_FLUSH_S:.0f} s")
        if self._failed is not None:
            raise Unavailable(f"Kafka refused a dead-letter pointer: {self._failed.str()}")

    def _produce(self, key: bytes, value: bytes) -> None:
        while True:
            try:
                self._producer.produce(DEAD_LETTER.name, value, key, on_delivery=self._delivered)
                return
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                raise Fatal(f"cannot produce to {DEAD_LETTER.name}: {error}") from error

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        self._failed = error or self._failed
