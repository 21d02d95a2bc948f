"""What waits in Kafka is told whether or not ClickHouse takes it, and by one sink alone."""

import re
import signal
from contextlib import closing
from typing import Any

import httpx
from confluent_kafka import Consumer, TopicPartition

from procurator.deploy.embedded.layout import free_ports
from procurator.kafka import consumer_config
from procurator.sink.service import GROUP
from procurator.topics import SESSION_EVENTS

PARTITIONS = 4


def _told(port: int) -> dict[int, float]:
    """Return what a sink tells of the events topic: partition → records."""
    try:
        page = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    except httpx.TransportError:  # not yet
        return {}
    sample = rf'^procurator_lag_records{{partition="(\d+)",topic="{re.escape(SESSION_EVENTS.name)}"}} (\S+)$'
    return {int(partition): float(value) for partition, value in re.findall(sample, page, re.MULTILINE)}


def _committed(world: Any) -> int:
    """Return how far the group has said to be, over all partitions."""
    with closing(Consumer(consumer_config(world.stack.kafka, GROUP))) as reader:
        places = [TopicPartition(SESSION_EVENTS.name, partition) for partition in range(PARTITIONS)]
        return sum(max(0, at.offset) for at in reader.committed(places, timeout=30))


def test_a_sink_that_starts_while_clickhouse_is_away_tells_how_much_waits(world: Any, await_true: Any) -> None:
    world.load(60)
    first = world.start_sink().await_ready()
    world.await_entries(60)
    await_true(lambda: _committed(world) == 60)
    assert first.end(signal.SIGTERM) == 0
    nobody, port = free_ports(2)
    world.start_sink(PROCURATOR_CLICKHOUSE_URL=f"http://127.0.0.1:{nobody}", PROCURATOR_METRICS_PORT=str(port))
    world.load(40, seed=1)
    await_true(lambda: sum(_told(port).values()) == 40)


def test_a_partition_is_told_by_the_sink_that_has_it(world: Any, await_true: Any) -> None:
    ports = free_ports(2)
    world.start_sink(PROCURATOR_METRICS_PORT=str(ports[0])).await_ready()
    await_true(lambda: len(_told(ports[0])) == PARTITIONS)
    world.start_sink(PROCURATOR_METRICS_PORT=str(ports[1])).await_ready()
    await_true(lambda: sorted([*_told(ports[0]), *_told(ports[1])]) == list(range(PARTITIONS)) and _told(ports[1]))
