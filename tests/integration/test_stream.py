"""`procurator stream` on a real Kafka and registry: whatever happens to workers, states equal the recount.

The recount (`procurator.bench.recount`) folds the events topic from its start by the pure function. The worker is the
command itself, in a process of its own. One stack serves all tests of this module, so topics and states grow.
"""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient

from procurator import events, topics
from procurator.avro_schemas.codec import load_schema, parse_schema
from procurator.bench import corpus, recount
from procurator.deploy.embedded.layout import Ports
from procurator.deploy.embedded.stack import Stack, StackConfig
from procurator.kafka import Topics, producer_config
from procurator.leaf import log_id
from procurator.partitioner import partition_of
from procurator.price_codec import to_avro
from procurator.price_feed import PriceFeed
from procurator.price_record import price_key
from procurator.price_source import list_prices
from procurator.pricing import PriceBook
from procurator.registry import Registry

PARTITIONS = 4
EVENTS = topics.SESSION_EVENTS.name
STATES = topics.SESSION_STATE.name
GROUP = "procurator-stream"
SCHEMA = load_schema("session_event")


def wait_until(what: str, met: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not met():
        assert time.monotonic() < deadline_s, f"not within {timeout_s} s: {what}"
        time.sleep(0.1)


@dataclass
class Harness:
    """A Kafka and a registry with everything set up, and what one does to them."""

    stack: Stack
    folder: Path
    registry: Registry
    prices: PriceBook
    event_schema_id: int
    producer: Producer
    workers: list["Worker"] = field(default_factory=list)

    def produce(self, value: bytes | None, key: str, partition: int | None = None) -> None:
        place = partition_of(key, PARTITIONS) if partition is None else partition
        self.producer.produce(EVENTS, value, key.encode(), place)
        self.producer.poll(0)

    def load(self, count: int, seed: int, pause: Callable[[], None] = lambda: None) -> None:
        """Produce ``count`` events, of which every hundredth stands twice in the log."""
        for n, event in enumerate(corpus.stream(count, seed=seed, sessions_at_once=60)):
            value = corpus.encode(event, self.event_schema_id)
            for _ in range(2 if n % 100 == 50 else 1):
                self.produce(value, event.session_id)
            if n % 100 == 0:
                pause()
        assert self.producer.flush(60) == 0

    def worker(self) -> "Worker":
        worker = Worker(self, self.folder / f"worker-{len(self.workers)}")
        self.workers.append(worker)
        return worker

    def lag(self) -> int | None:
        """How many records are not committed by the workers' group; None while Kafka does not say."""
        consumer = Consumer({"bootstrap.servers": self.stack.kafka, "group.id": GROUP})
        try:
            return recount.lag(consumer, EVENTS, PARTITIONS)
        finally:
            consumer.close()

    def settle(self) -> None:
        """Wait until the workers have committed everything; a worker that gave up is started again, as everywhere."""

        def settled() -> bool:
            if all(worker.process.poll() is not None for worker in self.workers):
                self.worker().await_ready()
            return self.lag() == 0

        wait_until("all events committed", settled, 90)

    def differences(self) -> list[object]:
        """What the state topic says otherwise than the recount."""
        expected = recount.recounted(self.stack.kafka, EVENTS, self.registry.fetch, self.prices)
        assert expected
        return list(recount.differences(expected, recount.published(self.stack.kafka, STATES, self.registry.fetch)))


class Worker:
    """``procurator stream`` in a process."""

    def __init__(self, harness: Harness, folder: Path) -> None:
        folder.mkdir()
        self.log = folder / "log"
        self._ready = folder / "ready"
        environment = {
            **os.environ,
            **harness.stack.env("stream"),
            "PROCURATOR_DATA_DIR": str(folder),
            "PROCURATOR_READY_FILE": str(self._ready),
        }
        with self.log.open("wb") as log:
            command = [sys.executable, "-m", "procurator", "stream"]
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def await_ready(self) -> "Worker":
        wait_until("worker ready", lambda: self._ready.exists() or self.process.poll() is not None, 60)
        assert self.process.poll() is None, self.log.read_text()
        return self

    def kill(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Signal and wait; return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(60)

    def stop(self) -> float:
        """Stop cleanly; return how many seconds it took."""
        started_s = time.monotonic()
        assert self.kill(signal.SIGTERM) == 0, self.log.read_text()
        return time.monotonic() - started_s


@pytest.fixture(scope="module")
def harness_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    folder = tmp_path_factory.mktemp("stream")
    only = frozenset({"kafka", "registry"})
    with Stack(StackConfig(folder / "stack", Ports.free(), only, say=print)) as stack:
        Topics(stack.kafka).ensure(topics.TOPICS, PARTITIONS, 1)
        registry = Registry(stack.registry_url)
        ids = {topic.schema: registry.register(load_schema(topic.schema)) for topic in topics.TOPICS}
        prices = list_prices()
        producer = Producer(producer_config(stack.kafka))
        for record in prices:
            value = load_schema("price").encode(to_avro(record), ids["price"])
            producer.produce(topics.PRICES.name, value, price_key(record.provider, record.model, record.org_id))
        assert producer.flush(30) == 0
        yield Harness(stack, folder, registry, PriceBook.of(prices), ids["session_event"], producer)
        registry.close()


@pytest.fixture
def harness(harness_of_module: Harness) -> Iterator[Harness]:
    yield harness_of_module
    for worker in harness_of_module.workers:
        worker.kill()


def test_states_equal_the_recount_whatever_stands_in_the_topic(harness: Harness) -> None:
    worker = harness.worker().await_ready()
    good = next(corpus.stream(1, seed=99))
    value = corpus.encode(good, harness.event_schema_id)
    broken = {**good.record, "sequence": -1}
    for partition in range(PARTITIONS):
        for poison in (
            None,
            b"",
            b"\x00\x00",
            os.urandom(300),
            b"\x00\x00\x00\x00\x63" + value[5:],  # a schema that nobody registered
            b"\x00" + harness.registry.schema_id(load_schema("session_state")).to_bytes(4, "big") + value[5:],
            value[:-1],
            value + b"\x00",
            SCHEMA.encode({**good.record, "agent_id": "~~~~"}, harness.event_schema_id).replace(b"~~~~", b"\xff" * 4),
            SCHEMA.encode(broken, harness.event_schema_id),
        ):
            harness.produce(poison, good.session_id, partition)
        if partition != partition_of(good.session_id, PARTITIONS):
            harness.produce(value, good.session_id, partition)  # misplaced
    long = {"turn_index": 0, "role": "TOOL", "content": "ü" * 2_500_000}
    large = {**good.record, "session_id": str(uuid.UUID(int=7)), "payload": (events.TURN_RECORDED, long)}
    harness.produce(SCHEMA.encode(large, harness.event_schema_id), large["session_id"])
    harness.load(3_000, seed=1)
    harness.settle()
    assert harness.differences() == []
    states = recount.published(harness.stack.kafka, STATES, harness.registry.fetch)
    assert good.session_id not in states, "a misplaced record counts nowhere"
    assert sum(state["repeated_events"] for state in states.values()) == 30
    assert any(state["priced_calls"] for state in states.values())
    assert any(state["unpriced_calls"] for state in states.values())
    assert worker.stop() < 15


def test_a_change_of_status_is_published_at_once(harness: Harness) -> None:
    worker = harness.worker().await_ready()
    session = list(corpus.stream(300, seed=5, sessions_at_once=1))
    first = [event for event in session if event.session_id == session[0].session_id]
    seen: list[str] = []

    def status() -> bool:
        states = recount.published(harness.stack.kafka, STATES, harness.registry.fetch)
        seen.append(states.get(first[0].session_id, {}).get("status", ""))
        return bool(seen[-1] == first[-1].record["payload"][1]["status"])

    for event in first:
        harness.produce(corpus.encode(event, harness.event_schema_id), event.session_id)
    assert harness.producer.flush(60) == 0
    wait_until("the session's end is published", status)
    worker.stop()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_kill_9_under_load_leaves_every_event_counted_once(harness: Harness, seed: int) -> None:
    rng = random.Random(seed)
    load = threading.Thread(target=harness.load, args=(6_000, 100 + seed, lambda: time.sleep(0.1)))
    load.start()
    for _ in range(3):
        worker = harness.worker().await_ready()
        time.sleep(rng.uniform(0, 3))
        worker.kill()
    load.join()
    worker = harness.worker().await_ready()
    harness.settle()
    assert harness.differences() == []
    worker.stop()


def test_two_workers_share_the_partitions_and_hand_them_over(harness: Harness) -> None:
    load = threading.Thread(target=harness.load, args=(8_000, 200, lambda: time.sleep(0.1)))
    first = harness.worker().await_ready()
    load.start()
    second = harness.worker().await_ready()
    wait_until("the second has partitions", lambda: "restored" in second.log.read_text())
    assert first.stop() < 15
    load.join()
    harness.settle()
    assert harness.differences() == []
    second.stop()


def test_a_worker_that_was_asleep_is_fenced_out(harness: Harness) -> None:
    load = threading.Thread(target=harness.load, args=(12_000, 300, lambda: time.sleep(0.1)))
    asleep = harness.worker().await_ready()
    load.start()
    wait_until("it has all partitions", lambda: asleep.log.read_text().count("restored") >= PARTITIONS)
    time.sleep(0.7)
    asleep.process.send_signal(signal.SIGSTOP)
    heir = harness.worker().await_ready()
    wait_until("its heir has all partitions", lambda: heir.log.read_text().count("restored") >= PARTITIONS)
    asleep.process.send_signal(signal.SIGCONT)
    load.join()
    harness.settle()
    assert harness.differences() == []
    asleep.kill()
    heir.stop()


def test_kafka_dies_and_comes_back(harness: Harness) -> None:
    harness.worker().await_ready()
    load = threading.Thread(target=harness.load, args=(6_000, 400, lambda: time.sleep(0.1)))
    load.start()
    time.sleep(1)
    harness.stack.restart("kafka", signal.SIGKILL)
    load.join()
    harness.settle()
    assert harness.differences() == []
    harness.workers[-1].stop()


def test_a_worker_stops_even_when_kafka_hangs(harness: Harness) -> None:
    worker = harness.worker().await_ready()
    harness.load(500, seed=450)
    kafka_pid = harness.stack.pid("kafka")
    os.kill(kafka_pid, signal.SIGSTOP)
    try:
        assert worker.stop() < 15
    finally:
        os.kill(kafka_pid, signal.SIGCONT)
    harness.settle()
    assert harness.differences() == []


def test_a_registry_that_is_away_pauses_and_drops_nothing(harness: Harness) -> None:
    document = json.loads(SCHEMA.text)
    document["fields"].append({"name": "later", "type": "string", "default": "", "doc": "Of a later release."})
    later_id = harness.registry.register(parse_schema(json.dumps(document)))
    worker = harness.worker().await_ready()
    harness.load(500, seed=500)
    harness.settle()
    registry_pid = harness.stack.pid("registry")
    assert registry_pid is not None
    os.kill(registry_pid, signal.SIGSTOP)
    try:
        later = parse_schema(json.dumps(document))
        for event in corpus.stream(500, seed=501):
            harness.produce(later.encode({**event.record, "later": "x"}, later_id), event.session_id)
        harness.producer.flush(30)
        wait_until("the worker says that it waits", lambda: "does not answer" in worker.log.read_text())
        assert harness.lag() != 0
    finally:
        os.kill(registry_pid, signal.SIGCONT)
    harness.settle()
    assert harness.differences() == []
    worker.stop()


def test_a_recreated_topic_is_another_log(harness: Harness) -> None:
    worker = harness.worker().await_ready()
    admin = AdminClient({"bootstrap.servers": harness.stack.kafka})
    admin.delete_topics([EVENTS])[EVENTS].result(30)
    wait_until("the topic is gone", lambda: not Topics(harness.stack.kafka).describe([EVENTS]))
    Topics(harness.stack.kafka).ensure([topics.SESSION_EVENTS], PARTITIONS, 1)
    worker.process.wait(60)
    assert worker.process.returncode == 2, "the worker noticed"
    assert "created anew" in worker.log.read_text()
    topic_id, _ = Topics(harness.stack.kafka).describe([EVENTS])[EVENTS]
    harness.load(2_000, seed=1)  # the sessions of the first test once more
    worker = harness.worker().await_ready()
    harness.settle()
    states = recount.published(harness.stack.kafka, STATES, harness.registry.fetch)
    logs = {log_id(topic_id, n) for n in range(PARTITIONS)}
    current = {session_id: state for session_id, state in states.items() if state["log_id"] in logs}
    expected = recount.recounted(harness.stack.kafka, EVENTS, harness.registry.fetch, harness.prices)
    assert recount.differences(expected, current) == []
    worker.stop()


def test_a_price_feed_follows_the_topic(harness: Harness) -> None:
    record = list_prices()[0]
    with PriceFeed(harness.stack.kafka, harness.registry) as feed:
        assert feed.book.records == harness.prices.records
        name = f"new-{uuid.uuid4()}"
        key = price_key("acme", name)
        value = load_schema("price").encode(
            {**to_avro(record), "provider": "acme", "model": name}, harness.registry.schema_id(load_schema("price"))
        )
        harness.producer.produce(topics.PRICES.name, value, key)
        harness.producer.produce(topics.PRICES.name, b"garbage", b"other")
        wait_until("the price is read", lambda: key in feed.book.records)
        harness.producer.produce(topics.PRICES.name, None, key)
        wait_until("the price is withdrawn", lambda: key not in feed.book.records)
