"""Laws of the sink: the ledger is a function of the log, whatever batches, writers and crashes make it."""

import uuid
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from procurator import events
from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.merkle import root_hash
from procurator.pricing import PriceBook
from procurator.sink.blocks import Block, EventProjection, make_block
from procurator.sink.ledger import DAY_US, NO_TAIL, Head, Log, Tail, landed, same_day
from procurator.sink.records import Record, Records
from procurator.sink.repeats import Repeats

LOG = Log("t", 0, "0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d:0", 1)
SCHEMA = load_schema("session_event")
DECODER = Decoder(SCHEMA, lambda _schema_id: SCHEMA.text)
START_US = 20_000 * DAY_US - 40
SESSIONS = [str(uuid.UUID(int=n)) for n in range(1, 4)]


def event_bytes(session: int, sequence: int) -> bytes:
    record = {
        "event_id": str(uuid.UUID(int=100 + sequence)),
        "session_id": SESSIONS[session],
        "emitter_id": "runtime",
        "sequence": sequence,
        "occurred_at": START_US,
        "nonce": bytes(16),
        "org_id": "acme",
        "agent_id": "billing",
        "owner_team_id": "payments",
        "payload": (events.TURN_RECORDED, {"turn_index": sequence, "role": "USER", "content": "hello"}),
    }
    return SCHEMA.encode(record, 1)


values = st.one_of(
    st.builds(event_bytes, st.integers(0, 2), st.integers(0, 5)),
    st.sampled_from([None, b"", b"junk", b"\x00\x00\x00\x00\x01"]),
)


@st.composite
def logs(draw: st.DrawFn) -> list[Record]:
    """Records with holes in their offsets and broker time that crosses midnight."""
    records, offset, time_us = [], 0, START_US
    for value in draw(st.lists(values, max_size=25)):
        offset += draw(st.sampled_from([1, 1, 1, 4]))
        time_us += draw(st.integers(0, 9))
        records.append(Record(offset - 1, time_us, draw(st.sampled_from([None, b"k"])), value))
    return records


class Ledger:
    """A table that keeps a block unless its token has been seen, as ClickHouse does."""

    def __init__(self) -> None:
        self.tokens: set[tuple[int, str]] = set()
        self.rows: list[dict[str, Any]] = []

    def insert(self, block: Block) -> None:
        columns = {name: column.to_pylist() for name, column in block.columns.items()}
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        days = {row["broker_time"].toordinal() for row in rows}
        assert len(days) == 1, "a block is of one table partition"
        token = (days.pop(), block.before.token)
        if token not in self.tokens:
            self.tokens.add(token)
            self.rows += rows

    def head(self) -> Head:
        hashes = [row["leaf_hash"] for row in self.rows]
        return Head(LOG.log_id).extended(hashes, self.rows[-1]["offset"] + 1) if hashes else Head(LOG.log_id)

    def tail(self, offset: int) -> Tail:
        rows = [row for row in self.rows if row["offset"] >= offset]
        if not rows:
            return NO_TAIL
        return Tail(len(rows), rows[-1]["offset"] + 1, rows[-1]["leaf_index"] + 1, rows[-1]["leaf_hash"])

    def sequences(self, before_offset: int, session_ids: Sequence[str]) -> dict[str, dict[str, list[int]]]:
        found: dict[str, dict[str, list[int]]] = {}
        for row in self.rows:
            session_id = str(uuid.UUID(bytes=row["session_id"]))
            if row["offset"] < before_offset and session_id in session_ids and not row["flags"]:
                found.setdefault(session_id, {}).setdefault(row["emitter_id"], []).append(row["sequence"])
        return found


class Writer:
    """A sink's view of one log: what it believes the head to be, and the block it is about to insert."""

    def __init__(self, ledger: Ledger, log: Sequence[Record]) -> None:
        self.ledger = ledger
        self.log = log
        self.restart()

    def restart(self) -> None:
        self.head = self.ledger.head()
        self.block: Block | None = None
        self.projection = EventProjection(
            LOG, lambda value: events.parse(DECODER, value), Repeats(self.ledger.sequences, 1), PriceBook
        )

    def make(self, size: int) -> None:
        coming = [record for record in self.log if record.offset >= self.head.next_offset][:size]
        if self.block is None and coming:
            records = Records.of(coming)
            self.block = make_block(LOG, self.head, records.take(same_day(records.broker_times_us)), self.projection)

    def insert(self, *, dies: bool) -> None:
        block, self.block = self.block, None
        if block is None:
            return
        self.ledger.insert(block)
        tail = self.ledger.tail(block.before.next_offset)
        if dies or not landed(block.after, block.last_leaf_hash, block.entries, tail):
            self.restart()
        else:
            self.head = block.after
            self.projection.landed(10**9)


def written(log: Sequence[Record], writers: int, steps: Sequence[tuple[int, int, str]]) -> Ledger:
    """Return the ledger after these steps (writer, size, what), finished by a last writer."""
    ledger = Ledger()
    fleet = [Writer(ledger, log) for _ in range(writers)]
    for writer, size, what in steps:
        if what == "make":
            fleet[writer].make(size)
        else:
            fleet[writer].insert(dies=what == "die")
    last = Writer(ledger, log)
    while log and last.head.next_offset <= log[-1].offset:
        last.make(7)
        last.insert(dies=False)
    return ledger


steps = st.lists(
    st.tuples(st.integers(0, 2), st.integers(1, 9), st.sampled_from(["make", "make", "insert", "insert", "die"])),
    max_size=40,
)


@given(logs(), steps)
def test_any_writers_in_any_order_make_the_same_ledger(
    log: list[Record], interleaving: list[tuple[int, int, str]]
) -> None:
    alone = written(log, 1, [])
    together = written(log, 3, interleaving)
    assert together.rows == alone.rows
    assert [row["offset"] for row in together.rows] == [record.offset for record in log]
    assert [row["value"] for row in together.rows] == [record.value for record in log]
    assert together.head().root == root_hash([row["leaf_hash"] for row in alone.rows])


@given(logs())
def test_writing_a_log_again_adds_nothing(log: list[Record]) -> None:
    ledger = written(log, 1, [])
    rows = list(ledger.rows)
    replay = Writer(ledger, log)
    replay.head = Head(LOG.log_id)
    replay.make(len(log) + 1)
    replay.insert(dies=False)
    assert ledger.rows == rows
