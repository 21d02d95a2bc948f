"""The compare-and-set and the deadline of a block, as the real engine keeps them."""

import time
import uuid
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from procurator import events
from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.clickhouse import TooLate
from procurator.leaf import log_id
from procurator.pricing import PriceBook
from procurator.sink.blocks import Block, EventProjection, make_block
from procurator.sink.ledger import NO_TAIL, Head, Log
from procurator.sink.migrate import shipped
from procurator.sink.records import Record, Records
from procurator.sink.repeats import Repeats
from procurator.sink.store import LedgerStore

TIME_US = 1_790_000_000_000_000


@pytest.fixture(params=["one server", "a distributed table"])
def store(world: Any, request: pytest.FixtureRequest) -> LedgerStore:
    if request.param != "one server":
        # As on a cluster (sink/cluster.py), of which this is the only shard: the engine in a process has no Keeper.
        world.clickhouse.execute("RENAME TABLE events TO events_local")
        world.clickhouse.execute("ALTER TABLE events_local MODIFY COLUMN insert_by DEFAULT now64(6) + 10")
        world.clickhouse.execute(f"CREATE TABLE events AS remote('127.0.0.1', {world.database}, events_local)")
    return LedgerStore(world.clickhouse, "events")


@pytest.fixture
def log() -> Log:
    return Log("t", 0, log_id(uuid.uuid4(), 0), 1)


def block_of(log: Log, before: Head, count: int) -> Block:
    schema = load_schema("session_event")
    decoder = Decoder(schema, lambda _schema_id: schema.text)
    first = before.next_offset
    records = Records.of(Record(first + n, TIME_US, None, b"record %d" % (first + n)) for n in range(count))
    parse, repeats = (lambda value: events.parse(decoder, value)), Repeats(lambda _offset, _sessions: {})
    return make_block(log, before, records, EventProjection(log, parse, repeats, PriceBook))


def now_us(store: LedgerStore, log: Log) -> int:
    return store.tail(log.log_id, 0)[1]


def test_of_two_blocks_from_one_head_the_second_is_dropped_whole(store: LedgerStore, log: Log) -> None:
    start = Head(log.log_id)
    shorter, longer = block_of(log, start, 100), block_of(log, start, 150)
    store.insert(longer, now_us(store, log))
    store.insert(shorter, now_us(store, log))
    store.insert(longer, now_us(store, log))
    reading = store.read(log.log_id)
    assert reading.head == longer.after
    assert store.tail(log.log_id, 0)[0].entries == 150
    following = block_of(log, reading.head, 25_000)
    store.insert(following, now_us(store, log))
    store.insert(block_of(log, reading.head, 10), now_us(store, log))
    assert store.read(log.log_id).head == following.after
    assert store.tail(log.log_id, 150)[0].entries == 25_000
    assert store.tail(log.log_id, 25_150)[0] == NO_TAIL


def test_a_block_whose_head_was_read_too_long_ago_is_refused_by_the_server(store: LedgerStore, log: Log) -> None:
    block = block_of(log, Head(log.log_id), 10)
    with suppress(TooLate):  # a server says so; the engine in a process keeps it to itself, hence the reading back
        store.insert(block, now_us(store, log) - 10_500_000)
    assert store.tail(log.log_id, 0)[0] == NO_TAIL
    store.insert(block, now_us(store, log) - 5_000_000)
    assert store.read(log.log_id).head == block.after


def test_a_head_is_its_row_and_the_entries_after_it(store: LedgerStore, log: Log) -> None:
    first = block_of(log, Head(log.log_id), 5)
    store.insert(first, now_us(store, log))
    store.settle(log, first.after)
    second = block_of(log, first.after, 3)
    store.insert(second, now_us(store, log))
    reading = store.read(log.log_id)
    assert (reading.head, reading.settled_offset) == (second.after, 5)
    assert time.monotonic() - reading.read_at_s < 5
    assert [letter["offset"] for letter in store.rejected(log, 5, 8)] == [5, 6, 7]
    assert store.read(replace(log, log_id=log_id(uuid.uuid4(), 1)).log_id).head.size == 0


def put_session(world: Any, session_id: str, log: str, as_of_offset: int, as_of: str) -> None:
    world.clickhouse.execute(
        "INSERT INTO sessions (session_id, log_id, as_of_offset, as_of)"
        " SELECT {session_id:UUID}, {log:String}, {offset:UInt64}, {as_of:DateTime64(6, 'UTC')}",
        {"session_id": session_id, "log": log, "offset": as_of_offset, "as_of": as_of},
    )


def test_a_session_of_a_recreated_topic_replaces_its_row_of_the_old_one(world: Any) -> None:
    """Its offsets begin anew. Within a log the offset decides between records of one millisecond."""
    session_id = str(uuid.uuid4())
    for log, offset, as_of in [
        ("old", 5_000, "2026-01-01 10:00:00.000"),
        ("new", 4, "2026-01-01 10:05:00.001"),
        ("new", 3, "2026-01-01 10:05:00.001"),  # by a sink that had slept
        ("old", 4_999, "2026-01-01 10:00:00.000"),
    ]:
        put_session(world, session_id, log, offset, as_of)
    shown = "SELECT log_id, as_of_offset FROM sessions FINAL"
    assert world.rows(shown) == [["new", 4]]
    # The migration that brought this may be repeated, as after a crash in its middle, when no later one has run.
    world.clickhouse.execute("ALTER TABLE sessions DROP PROJECTION by_start SETTINGS mutations_sync = 2")
    [migration] = [migration for migration in shipped() if migration.name == "session_version"]
    for end in (6, len(migration.statements)):
        for statement in migration.statements[:end]:
            world.clickhouse.execute(statement)
        assert world.rows(shown) == [["new", 4]]
        assert "ReplacingMergeTree(version)" in world.rows("SHOW CREATE TABLE sessions")[0][0]
