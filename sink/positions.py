"""IO: committed offsets, which nothing here reads: they are for lag monitors."""

import logging
from collections.abc import Sequence

from confluent_kafka import Consumer, KafkaException, TopicPartition

_log = logging.getLogger(__name__)


def show_position(consumer: Consumer, positions: Sequence[TopicPartition]) -> None:
    """Commit positions in the background; that it fails, as during a rebalance, does no harm."""
    known = [position for position in positions if position.offset >= 0]
    try:
        if known:
            consumer.commit(offsets=known, asynchronous=True)
    except KafkaException as error:
        _log.debug("positions not committed: %s", error)
