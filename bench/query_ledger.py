"""A large ledger to ask: what `procurator bench query` measures on.

Sessions of the corpus (texts from the recorded traces) become rows of ``events`` and ``sessions`` by the sink's own
code; ClickHouse then copies them under other session ids, offsets and days, until there are enough. This is the fast
path: nothing of it goes through Kafka, and in a copy the exact bytes and the leaf hashes are those of the original.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.bench import corpus
from procurator.bench.corpus import Event
from procurator.clickhouse import ClickHouse
from procurator.event_cost import event_cost
from procurator.events import TURN_RECORDED, parse
from procurator.price_source import list_prices
from procurator.pricing import PriceBook
from procurator.registry import Registry
from procurator.session_state import SessionState
from procurator.sink import arrow
from procurator.sink.blocks import EventProjection, make_block
from procurator.sink.ledger import DAY_US, Head, Log
from procurator.sink.records import Record, Records
from procurator.sink.repeats import Repeats
from procurator.sink.rows import NO_UUID
from procurator.sink.session_rows import StateRecord, session_columns

#: Tables stay as they were made: a ledger of another form has a folder of its own.
FORM = 2
#: Sessions made by the sink's code; the others are copies of them.
ORIGINALS = 2_500
COPIES_A_DAY = 8
LONG_TURNS = 20_000
#: Stands in one turn of one session in the whole ledger.
RARE_WORD = "quetzalcoatlus"
LONG_SESSION = str(uuid.UUID(int=20_000))
_LOG = Log("procurator.session.events.v1", 0, f"{uuid.UUID(int=6)}:0", 1)
_BLOCK_RECORDS = 10_000


@dataclass
class _Writer:
    """Makes rows of events and states and inserts them, block after block."""

    clickhouse: ClickHouse
    registry: Registry

    def __post_init__(self) -> None:
        self._events, self._states = load_schema("session_event"), load_schema("session_state")
        self._event_schema_id = self.registry.register(self._events)
        self._state_schema_id = self.registry.register(self._states)
        self._decoder = Decoder(self._events, self.registry.fetch)
        self._prices = PriceBook.of(list_prices())
        self._projection = EventProjection(
            _LOG, lambda value: parse(self._decoder, value), Repeats(lambda *_: {}), lambda: self._prices
        )
        self._head = Head(_LOG.log_id)

    def write(self, sessions: Iterable[list[Event]]) -> None:
        """Insert whole sessions, as if every event had reached Kafka when it occurred."""
        events = sorted((event for session in sessions for event in session), key=lambda e: e.record["occurred_at"])
        states: dict[str, SessionState] = {}
        waiting: list[Record] = []
        for offset, event in enumerate(events, self._head.next_offset):
            at_us = event.record["occurred_at"]
            value = self._events.encode(event.record, self._event_schema_id)
            waiting.append(Record(offset, at_us, event.session_id.encode(), value))
            parsed = parse(self._decoder, value)
            cost = event_cost(self._prices, parsed, at_us)
            state = states.setdefault(event.session_id, SessionState(event.session_id))
            state.apply(parsed, offset=offset, broker_time_us=at_us, cost=cost)
        for _, of_day in groupby(waiting, lambda record: record.broker_time_us // DAY_US):
            records = list(of_day)
            for first in range(0, len(records), _BLOCK_RECORDS):
                self._insert(records[first : first + _BLOCK_RECORDS])
        columns = session_columns([self._published(state) for state in states.values()])
        self.clickhouse.insert("sessions", list(columns), arrow.ipc_stream(columns))

    def _insert(self, records: list[Record]) -> None:
        block = make_block(_LOG, self._head, Records.of(records), self._projection)
        self.clickhouse.insert("events", list(block.columns), arrow.ipc_stream(block.columns))
        self._head = block.after

    def _published(self, state: SessionState) -> StateRecord:
        record = state.to_record(_LOG.log_id)
        return StateRecord(record, self._states.encode(record, self._state_schema_id), "bench:0", 0)


def build(clickhouse: ClickHouse, registry: Registry, events: int, say: Callable[[str], None]) -> None:
    """Fill the empty tables with at least ``events`` events, and one session of `LONG_TURNS` turns."""
    say(f"making {ORIGINALS:,} sessions and one of {LONG_TURNS:,} turns")
    writer = _Writer(clickhouse, registry)
    writer.write(corpus.whole_sessions(ORIGINALS))
    ((originals,),) = clickhouse.rows("SELECT count() FROM events")
    copies = max(0, -(-events // originals) - 1)
    clickhouse.execute("SYSTEM STOP MERGES events")  # each row once, when all are there
    for first in range(1, copies + 1, COPIES_A_DAY):
        say(f"copying: {first * originals:,} of {events:,} events")
        numbers = range(first, min(first + COPIES_A_DAY, copies + 1))
        _copy(clickhouse, numbers, originals, days=1 + first // COPIES_A_DAY)
    writer.write([_with_rare_word(_long_session())])
    clickhouse.execute("SYSTEM START MERGES events")
    days = clickhouse.rows(
        "SELECT DISTINCT partition_id FROM system.parts WHERE active AND table = 'events' ORDER BY 1"
    )
    for number, (day,) in enumerate(days):
        say(f"merging: {number} of {len(days)} days")
        clickhouse.execute(f"OPTIMIZE TABLE events PARTITION ID '{day}' FINAL")
    clickhouse.execute("OPTIMIZE TABLE sessions FINAL")


def _copy(clickhouse: ClickHouse, numbers: range, originals: int, days: int) -> None:
    """Insert copies of the original rows, ``days`` earlier."""
    earlier = f"- INTERVAL {days} DAY"
    copies = f"(SELECT arrayJoin(range({numbers.start}, {numbers.stop})) AS copy)"
    for table, key in (("events", "offset"), ("sessions", "as_of_offset")):
        described = clickhouse.rows(
            "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = {name:String}"
            " AND default_kind IN ('', 'DEFAULT') ORDER BY position",
            {"name": table},
        )
        other = {
            "session_id": f"reinterpretAsUUID(sipHash128(copy, {table}.session_id))",
            key: f"{table}.{key} + copy * {originals * 2}",
            "leaf_index": f"{table}.leaf_index + copy * {originals * 2}",
        }
        for name, kind in described:
            if "DateTime64" in kind:
                other[name] = f"{table}.{name} {earlier}"
        names = [name for name, _ in described]
        selected = ", ".join(other.get(name, f"{table}.{name}") for name in names)
        clickhouse.execute(
            f"INSERT INTO {table} ({', '.join(names)}) SELECT {selected} FROM {table}, {copies} AS copies"
            f" WHERE {table}.log_id = '{_LOG.log_id}' AND {table}.{key} < {originals * 2}"
            f" AND {table}.session_id != '{NO_UUID}'",
            # Merging makes the indexes.
            settings={"max_insert_threads": "2", "insert_deduplicate": "0", "materialize_skip_indexes_on_insert": "0"},
        )


def _long_session() -> Iterator[Event]:
    """Yield a session of `LONG_TURNS` turns: the events of ordinary ones, one after the other, under one id."""
    started_us = corpus.START_US + DAY_US // 2
    sequence = turns = 0
    for session in corpus.whole_sessions(LONG_TURNS, seed=1, steps=(5, 5)):
        first_turn = turns
        for event in session if not sequence else session[1:-1]:
            kind, payload = event.record["payload"]
            turns += kind == TURN_RECORDED
            payload = {**payload, **_renumbered(payload, first_turn, session[0].session_id)}
            yield _event(event, sequence, started_us, (kind, payload))
            sequence += 1
            if turns == LONG_TURNS:
                return


def _renumbered(payload: dict[str, Any], first_turn: int, prefix: str) -> dict[str, Any]:
    changed = {name: f"{prefix}-{payload[name]}" for name in ("tool_call_id", "model_call_id") if payload.get(name)}
    if payload.get("turn_index") is not None:
        changed["turn_index"] = payload["turn_index"] + first_turn
    return changed


def _event(event: Event, sequence: int, started_us: int, payload: tuple[str, dict[str, Any]]) -> Event:
    record = {
        **event.record,
        "event_id": str(uuid.uuid5(uuid.UUID(LONG_SESSION), str(sequence))),
        "session_id": LONG_SESSION,
        "emitter_id": "runtime-0",
        "org_id": "org-0",
        "agent_id": "agent-0",
        "owner_team_id": "team-0",
        "sequence": sequence,
        "occurred_at": started_us + sequence * 100_000,
        "payload": payload,
    }
    return Event(LONG_SESSION, record)


def _with_rare_word(session: Iterator[Event]) -> list[Event]:
    events = list(session)
    turn = next(event for event in reversed(events) if event.record["payload"][0] == TURN_RECORDED)
    turn.record["payload"][1]["content"] += f" {RARE_WORD}"
    return events
