"""IO: a Kafka producer that writes in transactions, and of which there is one at a time.

Who opens a writer fences every other one with its transactional id: their next transaction fails, whatever they do.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Producer

from procurator.errors import Fatal, Unavailable
from procurator.kafka import producer_config

TIMEOUT_S = 30.0

_FENCED = frozenset({KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED})
#: What `produce` says once its transaction has failed, whatever it failed of.
_FAILED_BEFORE = frozenset({KafkaError._FATAL, KafkaError._STATE})


class Outgoing(NamedTuple):
    """A record for partition 0 of a topic."""

    topic: str
    key: str | bytes | None
    value: bytes | None


class TransactionalWriter:
    """`open` it, then `write`. Raises Unavailable, and Fatal once another writer was opened; both calls block."""

    def __init__(self, bootstrap_servers: str, transactional_id: str, role: str) -> None:
        """``role`` is what the error calls the other one: "signer of this ledger"."""
        overrides = {"transactional.id": transactional_id, "transaction.timeout.ms": 60_000, "linger.ms": 0}
        self._producer = Producer(producer_config(bootstrap_servers, **overrides))
        self._role = role

    def open(self) -> None:
        """Fence every other writer with this transactional id."""
        self._do(self._producer.init_transactions, TIMEOUT_S)

    def write(self, records: Iterable[Outgoing]) -> None:
        """Write the records in one transaction: all of them or none."""
        made = list(records)  # Before it begins: one that cannot be made must not leave a transaction open.
        self._do(self._producer.begin_transaction)
        for topic, key, value in made:
            self._do(self._produce, topic, value, key, 0)
        self._do(self._producer.commit_transaction, TIMEOUT_S)

    def _produce(self, *arguments: Any) -> None:
        try:
            self._producer.produce(*arguments)
        except KafkaException as error:
            if error.args[0].code() in _FAILED_BEFORE:
                self._producer.abort_transaction(TIMEOUT_S)  # Says what `produce` does not: that it was fenced.
            raise

    def _do(self, step: Any, *arguments: Any) -> None:
        try:
            step(*arguments)
        except (KafkaException, BufferError) as error:
            reason = error.args[0]
            code = reason.code() if isinstance(reason, KafkaError) else None
            if code in _FENCED:
                raise Fatal(f"another {self._role} has started: this one stops") from error
            raise Unavailable(f"Kafka: {reason.str() if isinstance(reason, KafkaError) else reason}") from error
