"""What the states must be: a recount of the events topic by the pure fold, beside what the state topic says.

Used by the benchmark, to show that what was measured was right, and by the tests that kill workers.
"""

from collections.abc import Callable, Iterator
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from procurator import events
from procurator.avro_schemas.codec import Decoder, Record, load_schema
from procurator.errors import Rejected
from procurator.event_cost import event_cost
from procurator.kafka import TIMEOUT_S, Topics, consumer_config
from procurator.leaf import log_id
from procurator.partitioner import partition_of
from procurator.pricing import PriceBook
from procurator.session_state import SessionState

Fetch = Callable[[int], str]


def recounted(bootstrap_servers: str, topic: str, fetch: Fetch, prices: PriceBook) -> dict[str, Record]:
    """Return the state of every session, by id, as a raw record: each partition folded from its start to its end."""
    topic_id, partitions = Topics(bootstrap_servers).describe([topic])[topic]
    decoder = Decoder(load_schema("session_event"), fetch)
    states: dict[str, tuple[SessionState, str]] = {}
    for message in read_to_end(bootstrap_servers, topic):
        try:
            event = events.parse(decoder, message.value())
        except Rejected:
            continue
        session_id, partition = event["session_id"], message.partition()
        if partition_of(session_id, partitions) != partition:
            continue
        state, _ = states.setdefault(session_id, (SessionState(session_id), log_id(topic_id, partition)))
        time_us = message.timestamp()[1] * 1000
        cost = event_cost(prices, event, time_us)
        state.apply(event, offset=message.offset(), broker_time_us=time_us, cost=cost)
    return {session_id: state.to_record(log) for session_id, (state, log) in states.items()}


def published(bootstrap_servers: str, topic: str, fetch: Fetch) -> dict[str, Record]:
    """Return the latest state of every session in the state topic, by id."""
    decoder = Decoder(load_schema("session_state"), fetch)
    latest = {message.key(): message.value() for message in read_to_end(bootstrap_servers, topic)}
    return {key.decode(): decoder.decode(value) for key, value in latest.items()}


def differences(expected: dict[str, Record], found: dict[str, Record]) -> list[tuple[str, str, Any, Any]]:
    """Return (session id, field, expected, found) of whatever differs; a session that is missing differs in all."""
    return [
        (session_id, field, value, found.get(session_id, {}).get(field))
        for session_id, record in expected.items()
        for field, value in record.items()
        if found.get(session_id, {}).get(field) != value
    ] + [(session_id, "session_id", None, session_id) for session_id in found.keys() - expected.keys()]


def lag(consumer: Consumer, topic: str, partitions: int) -> int | None:
    """Return how many records the consumer's group has not committed; None while its coordinator does not answer."""
    places = [TopicPartition(topic, partition) for partition in range(partitions)]
    try:
        ends = [consumer.get_watermark_offsets(place, TIMEOUT_S)[1] for place in places]
        committed = [max(place.offset, 0) for place in consumer.committed(places, TIMEOUT_S)]
    except KafkaException:
        return None
    return int(sum(ends) - sum(committed))


def read_to_end(bootstrap_servers: str, topic: str, group_id: str = "procurator-recount") -> Iterator[Message]:
    """Yield every committed record of the topic, partition by partition, up to the end as it is found."""
    consumer = Consumer(consumer_config(bootstrap_servers, group_id, **{"enable.partition.eof": True}))
    try:
        for partition in sorted(consumer.list_topics(topic, timeout=TIMEOUT_S).topics[topic].partitions):
            consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING)])
            yield from _read(consumer)
    finally:
        consumer.close()


def _read(consumer: Consumer) -> Iterator[Message]:
    while True:
        for message in consumer.consume(1_000, 0.1):
            error = message.error()
            if error is None:
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                return
