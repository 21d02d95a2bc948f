"""IO: how many records wait in Kafka, also while nothing can be done about them."""

import logging
from collections.abc import Callable, Iterable, Mapping

from confluent_kafka import Consumer, KafkaException, TopicPartition

from procurator import metrics
from procurator.errors import Unavailable
from procurator.kafka import Bounds, Place

_log = logging.getLogger(__name__)

_ANSWER_S = 2.0


def tell_waiting(topic: str, partition: int, position: int, end: int) -> None:
    """Tell what is between a position and the end of the partition."""
    metrics.LAG.labels(topic, partition).set(max(0, end - position))


def tell_waiting_during_outage(
    consumer: Consumer, partitions: list[TopicPartition], bounds: Callable[[], Mapping[Place, Bounds]]
) -> None:
    """Tell what waits beyond the positions committed to Kafka, since ClickHouse, which knows, may be what is away.

    When Kafka is, what was told last stands.
    """
    try:
        committed = consumer.committed(partitions, timeout=_ANSWER_S)
        known = bounds()
    except (KafkaException, Unavailable) as error:
        _log.debug("how much waits in Kafka is not known: %s", error)
        return
    for at in committed:
        start, end = known[at.topic, at.partition]
        tell_waiting(at.topic, at.partition, max(start, at.offset), end)


def forget_waiting(partitions: Iterable[TopicPartition]) -> None:
    """Tell nothing more of partitions that are another's."""
    for at in partitions:
        metrics.LAG.remove(at.topic, at.partition)
