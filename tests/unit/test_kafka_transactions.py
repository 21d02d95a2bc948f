"""What a writer makes of a client that will not say why it takes no more records."""

from typing import Any, NoReturn

import pytest
from confluent_kafka import KafkaError, KafkaException

from procurator.errors import Fatal, Unavailable
from procurator.kafka_transactions import Outgoing, TransactionalWriter


class _Client:
    """Fails to produce, as one does in the moment in which another is found to have fenced it (too short to meet)."""

    def __init__(self, refusal: int, why: int | None) -> None:
        self._refusal, self._why = refusal, why

    def begin_transaction(self) -> None:
        pass

    def produce(self, *_: Any) -> NoReturn:
        raise KafkaException(KafkaError(self._refusal))

    def abort_transaction(self, _timeout_s: float) -> None:
        if self._why is not None:
            raise KafkaException(KafkaError(self._why))


@pytest.mark.parametrize("refusal", [KafkaError._FATAL, KafkaError._STATE])
@pytest.mark.parametrize(
    ("why", "raised", "words"),
    [
        (KafkaError._FENCED, Fatal, "another writer has started: this one stops"),
        (KafkaError._TIMED_OUT, Unavailable, "Timed out"),
        (None, Unavailable, "Kafka: "),
    ],
)
def test_a_client_that_takes_no_record_is_asked_why(
    refusal: int, why: int | None, raised: type[Exception], words: str
) -> None:
    writer = TransactionalWriter("127.0.0.1:1", "transactional", "writer")
    writer._producer = _Client(refusal, why)
    with pytest.raises(raised, match=words):
        writer.write([Outgoing("topic", None, b"value")])
