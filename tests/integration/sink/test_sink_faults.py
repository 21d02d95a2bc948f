"""Crashes, outages, rebalances and zombies: the ledger is the topic, each record once."""

import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from procurator.topics import SESSION_EVENTS

EVENTS = SESSION_EVENTS.name


@contextmanager
def under_load(world: Any, rate_per_s: int = 2_000) -> Iterator[None]:
    """Publish events without a pause until the block ends."""
    stop = threading.Event()

    def load() -> None:
        seed = 0
        while not stop.wait(0.1):
            seed += 1
            world.load(rate_per_s // 10, seed=seed)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def assert_exact(world: Any) -> None:
    """All that Kafka confirmed is in the ledger, once, with the leaves and roots that follow from the topic."""
    world.await_entries(world.confirmed)
    assert world.rows("SELECT count(), uniqExact(log_id, offset) FROM events") == [[world.confirmed] * 2]
    world.assert_ledger_is_the_topic()


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_point_it_goes_on_where_the_ledger_ends(world: Any, seed: int) -> None:
    rng = random.Random(seed)
    with under_load(world):
        for _ in range(3):
            sink = world.start_sink().await_ready()
            time.sleep(rng.uniform(0.0, 1.5))  # the moment of the fault, not a wait for anything
            sink.end(signal.SIGKILL)
        last = world.start_sink().await_ready()
    assert_exact(world)
    assert last.end(signal.SIGTERM) == 0


def test_a_clean_stop_takes_seconds_under_load(world: Any) -> None:
    with under_load(world):
        sink = world.start_sink().await_ready()
        world.await_entries(1_000)
        sink.send(signal.SIGTERM)
        assert sink.process.wait(15) == 0
        world.start_sink().await_ready()
    assert_exact(world)


def test_two_sinks_share_the_partitions_and_take_over_from_each_other(world: Any) -> None:
    with under_load(world):
        first = world.start_sink().await_ready()
        world.await_entries(500)
        world.start_sink().await_ready()
        world.await_entries(world.entries() + 2_000)
        assert first.end(signal.SIGTERM) == 0
        world.await_entries(world.entries() + 2_000)
        third = world.start_sink().await_ready()
        world.await_entries(world.entries() + 2_000)
        third.end(signal.SIGKILL)
    assert_exact(world)


def test_a_paused_sink_that_wakes_up_after_another_took_over_writes_nothing_twice(world: Any) -> None:
    with under_load(world):
        zombie = world.start_sink().await_ready()
        world.await_entries(1_000)
        zombie.send(signal.SIGSTOP)
        world.start_sink().await_ready()
        world.await_entries(world.entries() + 3_000)
        zombie.send(signal.SIGCONT)
        world.await_entries(world.entries() + 3_000)
    assert_exact(world)
    assert zombie.process.poll() is None, "it carries on as a member of the group"


def test_clickhouse_away_pauses_and_resumes(world: Any) -> None:
    sink = world.start_sink().await_ready()
    with under_load(world):
        world.await_entries(500)
        world.stack.restart("clickhouse", signal.SIGKILL)
    assert_exact(world)
    assert sink.process.poll() is None


def test_a_registry_that_is_away_rejects_nothing(world: Any) -> None:
    world.load(500)
    world.stack.kill("registry", signal.SIGKILL)
    sink = world.start_sink()
    world.load(500, seed=1)
    assert_exact(world)
    world.stack.kill("registry", signal.SIGKILL)
    world.produce(EVENTS, b"k", b"\x00\x7f\xff\xff\xffunknown")
    world.load(500, seed=2)
    assert_exact(world)
    assert "schema registry" in sink.log.read_text()
    assert world.rows("SELECT rejected_reason, count() FROM events GROUP BY 1 ORDER BY 1") == [
        ["", 1_500],
        ["schema_unknown", 1],
    ]


def test_a_recreated_topic_is_another_log(world: Any, recreate: Any) -> None:
    sink = world.start_sink().await_ready()
    world.load(1_000)
    world.await_entries(1_000)
    old_logs = world.log_ids()
    recreate(SESSION_EVENTS)
    world.load(700, seed=1)
    world.await_entries(1_700)
    assert not set(old_logs) & set(world.log_ids())
    world.assert_ledger_is_the_topic()
    assert world.rows("SELECT count(), uniqExact(log_id, offset) FROM events") == [[1_700, 1_700]]
    assert sink.process.poll() is None


def test_a_log_that_starts_above_the_head_is_a_gap_without_leaves(world: Any) -> None:
    sink = world.start_sink().await_ready()
    world.load(400)
    world.await_entries(400)
    assert sink.end(signal.SIGTERM) == 0
    ends = dict(world.rows("SELECT log_id, max(offset) + 1 FROM events GROUP BY log_id"))
    world.load(400, seed=1)
    purge(world, {partition: ends[log] + 5 for partition, log in enumerate(world.log_ids())})
    world.start_sink().await_ready()
    world.await_entries(800 - 5 * len(ends))
    gaps = world.rows("SELECT log_id, first_offset, next_offset FROM ledger_gaps")
    assert sorted(gaps) == sorted([log, end, end + 5] for log, end in ends.items())
    assert world.rows(
        "SELECT log_id, max(leaf_index) + 1, count(), max(offset) + 1 - count() FROM events GROUP BY log_id ORDER BY 1"
    ) == [[log, n, n, 5] for log, n in sorted((log, entries_of(world, log)) for log in ends)]
    assert "are gone from Kafka and not in the ledger" in world.sinks[-1].log.read_text()


def test_a_log_that_ends_below_the_head_stops_the_sink(world: Any) -> None:
    log = world.log_ids()[1]
    world.clickhouse.execute(
        f"INSERT INTO ledger_heads (log_id, topic, partition, next_offset) VALUES ('{log}', '{EVENTS}', 1, 9)"
    )
    sink = world.start_sink()
    assert sink.process.wait(60) == 2
    assert "Kafka ends at offset 0, the ledger at 9" in sink.log.read_text()


def purge(world: Any, before: dict[int, int]) -> None:
    """Delete the records of each partition before an offset, as retention would."""
    admin = AdminClient({"bootstrap.servers": world.stack.kafka})
    wanted = [TopicPartition(EVENTS, partition, offset) for partition, offset in before.items()]
    for future in admin.delete_records(wanted).values():
        future.result()


def entries_of(world: Any, log: str) -> int:
    return int(world.rows(f"SELECT count() FROM events WHERE log_id = '{log}'")[0][0])
