"""Sinks as processes of their own on the real stack, each test with topics and a database of its own."""

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from procurator.avro_schemas.codec import load_schema
from procurator.bench.corpus import encode, stream
from procurator.clickhouse import ClickHouse
from procurator.deploy.embedded.components import INFRASTRUCTURE
from procurator.deploy.embedded.layout import Ports
from procurator.deploy.embedded.stack import Stack, StackConfig
from procurator.kafka import Topics, consumer_config, producer_config
from procurator.leaf import entry_leaf_hash, log_id
from procurator.merkle import root_hash
from procurator.partitioner import partition_of
from procurator.registry import Registry
from procurator.sink.migrate import migrate
from procurator.sink.records import Record
from procurator.topics import AUDIT, DEAD_LETTER, SESSION_EVENTS, SESSION_STATE, Topic

PARTITIONS = 4
T = TypeVar("T")


def await_that(ask: Callable[[], T], timeout_s: float = 60.0) -> T:
    """Return the first true answer of ``ask``; fail the test when there is none in time."""
    until_s = time.monotonic() + timeout_s
    while not (answer := ask()):
        assert time.monotonic() < until_s, "it did not come about in time"
        time.sleep(0.05)
    return answer


@dataclass
class SinkProcess:
    """``procurator sink`` as its users run it."""

    process: subprocess.Popen[bytes]
    ready_file: Path
    log: Path

    def await_ready(self) -> "SinkProcess":
        await_that(lambda: self.ready_file.exists() or self.process.poll() is not None)
        assert self.process.poll() is None, self.log.read_text()
        return self

    def send(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def end(self, number: int) -> int:
        """Send a signal and return the exit code."""
        self.send(number)
        return self.process.wait(60)

    def stop(self) -> None:
        """Let it end that was told to, by force if it must be."""
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass
class World:
    """One test's topics, database and sinks."""

    stack: Stack
    folder: Path
    database: str
    clickhouse: ClickHouse
    topics: Topics
    schema_id: int
    producer: Producer
    sinks: list[SinkProcess] = field(default_factory=list)
    #: What Kafka has confirmed, in all.
    confirmed: int = 0

    def start_sink(self, **env: str) -> SinkProcess:
        number = len(self.sinks)
        ready_file, log = self.folder / f"sink-{number}.ready", self.folder / f"sink-{number}.log"
        settings = {
            **self.stack.env("sink"),
            "PROCURATOR_CLICKHOUSE_DATABASE": self.database,
            "PROCURATOR_READY_FILE": str(ready_file),
            **env,
        }
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "procurator", "sink"], env={**os.environ, **settings}, stdout=out, stderr=out
            )
        self.sinks.append(SinkProcess(process, ready_file, log))
        return self.sinks[-1]

    def produce(self, topic: str, key: bytes | None, value: bytes | None, partition: int = -1) -> None:
        """Publish a record; ``flush`` waits until Kafka has it."""

        def delivered(error: Any, _message: Any) -> None:
            assert error is None, error
            self.confirmed += 1

        while True:
            try:
                self.producer.produce(topic, value, key, partition, on_delivery=delivered)
                return
            except BufferError:
                self.producer.poll(0.1)

    def flush(self) -> None:
        assert self.producer.flush(60) == 0

    def load(self, count: int, seed: int = 0) -> None:
        """Publish ``count`` events of believable sessions."""
        for event in stream(count, seed=seed, sessions_at_once=50):
            self.produce(SESSION_EVENTS.name, event.session_id.encode(), encode(event, self.schema_id))
        self.flush()

    def rows(self, sql: str) -> list[list[Any]]:
        return self.clickhouse.rows(sql)

    def entries(self, table: str = "events") -> int:
        return int(self.rows(f"SELECT count() FROM {table}")[0][0])

    def await_entries(self, count: int, table: str = "events", timeout_s: float = 90.0) -> None:
        await_that(lambda: self.entries(table) >= count, timeout_s)

    def log_ids(self, topic: str = SESSION_EVENTS.name) -> list[str]:
        topic_id, partitions = self.topics.describe([topic])[topic]
        return [log_id(topic_id, partition) for partition in range(partitions)]

    def read(self, topic: str) -> dict[int, list[Record]]:
        """Return every record that stands in a topic, by partition."""
        consumer = Consumer(consumer_config(self.stack.kafka, f"test-{uuid.uuid4()}"))
        found: dict[int, list[Record]] = {}
        for partition in range(self.topics.describe([topic])[topic][1]):
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), 60, cached=False)
            records = found[partition] = []
            consumer.assign([TopicPartition(topic, partition, low)])
            while (records[-1].offset + 1 if records else low) < high:
                for message in consumer.consume(10_000, 1.0):
                    assert message.error() is None, message.error()
                    time_us = message.timestamp()[1] * 1000
                    records.append(Record(message.offset(), time_us, message.key(), message.value()))
        consumer.close()
        return found

    def await_pointers(self, count: int) -> None:
        """Wait until the topic of dead letters has so many records: they come after their entries."""
        await_that(lambda: sum(map(len, self.read(DEAD_LETTER.name).values())) >= count)

    def assert_ledger_is_the_topic(self, topic: str = SESSION_EVENTS.name, table: str = "events") -> None:
        """Every record that stands in Kafka is an entry once, byte for byte, with its leaf; the head is their root."""
        for (partition, records), log in zip(sorted(self.read(topic).items()), self.log_ids(topic), strict=True):
            rows = self.rows(
                "SELECT offset, leaf_index, toUnixTimestamp64Micro(broker_time), isNull(key), hex(ifNull(key, '')),"
                f" isNull(value), hex(ifNull(value, '')), hex(leaf_hash) FROM {table}"
                f" WHERE log_id = '{log}' ORDER BY offset, leaf_index"
            )
            hashes = [
                entry_leaf_hash(log, index, record.offset, record.broker_time_us, record.key, record.value)
                for index, record in enumerate(records)
            ]
            assert [row[:3] for row in rows] == [[r.offset, n, r.broker_time_us] for n, r in enumerate(records)], (
                partition
            )
            assert [_bytes(row[3], row[4]) for row in rows] == [record.key for record in records]
            assert [_bytes(row[5], row[6]) for row in rows] == [record.value for record in records]
            assert [bytes.fromhex(row[7]) for row in rows] == hashes
            self.await_head(log, len(records), root_hash(hashes))

    def await_head(self, log: str, size: int, root: bytes) -> None:
        """Wait until the last head's row of a log is this."""
        sql = f"SELECT size, hex(root) FROM ledger_heads WHERE log_id = '{log}' ORDER BY next_offset DESC LIMIT 1"
        await_that(lambda: not size or self.rows(sql) == [[size, root.hex().upper()]])


def _bytes(is_null: int, text: str) -> bytes | None:
    return None if is_null else bytes.fromhex(text)


@pytest.fixture(scope="session")
def sink_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Kafka, registry and ClickHouse after `procurator setup`: these tests delete topics, so it is theirs alone."""
    components = INFRASTRUCTURE | {"setup"}
    with Stack(StackConfig(tmp_path_factory.mktemp("sink-stack"), Ports.free(), components, say=print)) as stack:
        yield stack


@pytest.fixture
def world(sink_stack: Stack, tmp_path: Path) -> Iterator[World]:
    """Empty topics and an empty database. Sinks that still run when the test ends are stopped.

    Not killed: the group would hold a dead member's partitions back from the next test's sink.
    """
    database = f"t_{uuid.uuid4().hex[:8]}"
    clickhouse = ClickHouse(sink_stack.clickhouse_url, "admin", sink_stack.admin_key, database)
    migrate(clickhouse)
    topics = Topics(sink_stack.kafka)
    make_anew(sink_stack, topics, [SESSION_EVENTS, AUDIT, SESSION_STATE, DEAD_LETTER])
    with closing(Registry(sink_stack.registry_url)) as registry:
        schema_id = registry.schema_id(load_schema("session_event"))
    producer = Producer(producer_config(sink_stack.kafka))
    made = World(sink_stack, tmp_path, database, clickhouse, topics, schema_id, producer)
    yield made
    for sink in made.sinks:
        sink.process.terminate()
    for sink in made.sinks:
        sink.stop()
        sys.stdout.write(sink.log.read_text())
    clickhouse.execute(f"DROP DATABASE {database} SYNC")
    clickhouse.close()


def make_anew(stack: Stack, topics: Topics, wanted: Sequence[Topic]) -> None:
    """Delete topics and make them anew, with new ids."""
    names = [topic.name for topic in wanted]
    admin = AdminClient({"bootstrap.servers": stack.kafka})
    for future in admin.delete_topics(names).values():
        future.exception()
    await_that(lambda: not topics.describe(names))
    topics.ensure(wanted, PARTITIONS, 1)
    await_that(lambda: len(topics.describe(names)) == len(names))


@pytest.fixture
def recreate(world: World) -> Callable[[Topic], None]:
    """A function that deletes a topic and makes it anew."""
    return lambda topic: make_anew(world.stack, world.topics, [topic])


@pytest.fixture(scope="session")
def session_on() -> Callable[[int], str]:
    """A function that returns a session whose records belong into a partition."""

    def find(partition: int) -> str:
        return next(s for _ in range(1_000) if partition_of(s := str(uuid.uuid4()), PARTITIONS) == partition)

    return find


@pytest.fixture(scope="session")
def await_true() -> Callable[[Callable[[], T]], T]:
    """`await_that`, for tests."""
    return await_that
