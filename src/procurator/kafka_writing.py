"""IO: messages into Kafka, each of them confirmed: for what is written now and then, by a command."""

from collections.abc import Iterable

from confluent_kafka import KafkaError, Message, Producer

from procurator.errors import Unavailable
from procurator.kafka import producer_config

_FLUSH_S = 30.0

#: Topic, key, value; without a value it is a tombstone.
Written = tuple[str, str | bytes, bytes | None]


def write_all(bootstrap_servers: str, messages: Iterable[Written], what: str) -> None:
    """Write ``messages`` and return once Kafka has confirmed each.

    Raises Unavailable when it did not: some may have been written. `flush` alone tells only of messages that nobody has
    answered; one that was refused (no access, too large) is told to its callback.
    """
    refused: list[KafkaError] = []

    def delivered(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            refused.append(error)

    producer = Producer(producer_config(bootstrap_servers))
    for topic, key, value in messages:
        while True:
            try:
                producer.produce(topic, value, key, on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    left = producer.flush(_FLUSH_S)
    if left or refused:
        why = refused[0].str() if refused else f"no answer within {_FLUSH_S:.0f} s"
        raise Unavailable(f"Kafka at {bootstrap_servers} did not take {left + len(refused)} {what}: {why}")
