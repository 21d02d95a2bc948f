"""What Kafka refused counts as not written, although nothing is left to be flushed."""

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError

from procurator import kafka_writing
from procurator.errors import Unavailable
from procurator.kafka_writing import write_all


class _Refusing:
    """Answers each message at `flush`, the second with an error."""

    def __init__(self, _config: dict[str, Any]) -> None:
        self._waiting: list[Callable[[KafkaError | None, None], None]] = []

    def produce(self, *_: Any, on_delivery: Callable[[KafkaError | None, None], None]) -> None:
        self._waiting.append(on_delivery)

    def poll(self, _timeout_s: float) -> None:
        pass

    def flush(self, _timeout_s: float) -> int:
        for number, told in enumerate(self._waiting):
            told(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED) if number == 1 else None, None)
        return 0


def test_a_message_that_was_refused_was_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_writing, "Producer", _Refusing)
    messages = [("topic", key, None) for key in "abc"]
    with pytest.raises(Unavailable, match="kafka:9092 did not take 1 tombstones: Broker: Topic authorization failed"):
        write_all("kafka:9092", messages, "tombstones")
    write_all("kafka:9092", messages[:1], "tombstones")
