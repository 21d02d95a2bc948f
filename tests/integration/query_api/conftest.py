"""A ledger of one's own on the real ClickHouse and registry, filled without Kafka and without workers.

Blocks and states are made by the same pure functions as the sink's and the stream processors', so that a test decides
what is in the ledger, what is in the state, and when. The whole pipeline is tested in test_visible.py.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

import pyarrow as pa
import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from procurator.access import Permission, Principal
from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.clickhouse import ClickHouse
from procurator.clock import now_us
from procurator.config import Settings
from procurator.deploy.embedded.stack import Stack
from procurator.event_cost import event_cost
from procurator.events import NAMESPACE, parse
from procurator.kafka import Topics
from procurator.partitioner import partition_of
from procurator.price_source import list_prices
from procurator.pricing import PriceBook
from procurator.query_api.app import create_app
from procurator.registry import Registry
from procurator.session_state import SessionState
from procurator.sink import arrow
from procurator.sink.blocks import EventProjection, make_block
from procurator.sink.ledger import Head, Log
from procurator.sink.migrate import migrate
from procurator.sink.records import Record, Records
from procurator.sink.repeats import Repeats
from procurator.topics import TOPICS

PARTITIONS = 2
_NOT_IN_THE_TABLE = frozenset(
    {
        *("emitters", "open_calls", "completed_call_ids", "pending_approvals", "awaited_turns", "turn_runs", "error"),
        *("approval_deadlines", "deadline_at", "reservations"),
    }
)
_PRICES = PriceBook.of(list_prices())


@dataclass
class Ledger:
    """Its tables, its logs so far, and the events folded of each session."""

    clickhouse: ClickHouse
    registry: Registry
    topic_id: UUID = field(default_factory=uuid4)

    def __post_init__(self) -> None:
        self._schema, self._state_schema = load_schema("session_event"), load_schema("session_state")
        self._schema_id = self.registry.register(self._schema)
        self._state_schema_id = self.registry.register(self._state_schema)
        self._decoder = Decoder(self._schema, self.registry.fetch)
        self._heads: dict[int, Head] = {}
        self._projections: dict[int, EventProjection] = {}
        self._records: dict[str, list[Record]] = {}

    def begin_again(self) -> None:
        """Empty the tables. What is added from now on stands in other logs, from their beginning."""
        for table in ("events", "sessions"):
            self.clickhouse.execute(f"TRUNCATE TABLE {table}")
        self.topic_id = uuid4()
        self._heads.clear()
        self._projections.clear()
        self._records.clear()

    def log_id(self, partition: int) -> str:
        return f"{self.topic_id}:{partition}"

    def add(self, *events: dict[str, Any], misplaced: bool = False, broker_time_us: int | None = None) -> None:
        """Put events into the ledger, each in its log, or all in the wrong one."""
        for partition in range(PARTITIONS):
            mine = [
                event
                for event in events
                if (partition_of(event["session_id"], PARTITIONS) == partition) is not misplaced
            ]
            if not mine:
                continue
            log = Log("procurator.session.events.v1", partition, self.log_id(partition), PARTITIONS)
            head = self._heads.get(partition) or Head(log.log_id)
            time_us = broker_time_us or now_us()
            records = [
                Record(
                    head.next_offset + index,
                    time_us,
                    event["session_id"].encode(),
                    self._schema.encode(event, self._schema_id),
                )
                for index, event in enumerate(mine)
            ]
            projection = self._projections.setdefault(
                partition,
                EventProjection(
                    log,
                    lambda value: parse(self._decoder, value),
                    Repeats(lambda *_: {}),  # nothing from before this ledger was begun
                    lambda: _PRICES,
                ),
            )
            block = make_block(log, head, Records.of(records), projection)
            self.clickhouse.insert("events", list(block.columns), arrow.ipc_stream(block.columns), head.token)
            self._heads[partition] = block.after
            if not misplaced:
                for event, record in zip(mine, records, strict=True):
                    self._records.setdefault(event["session_id"], []).append(record)

    def publish(self, session_id: str, events: int | None = None) -> dict[str, Any]:
        """Put the state after the first ``events`` of a session into ``sessions`` and return its record."""
        state = SessionState(session_id)
        for record in self._records[session_id][:events]:
            event = parse(self._decoder, record.value)
            cost = event_cost(_PRICES, event, record.broker_time_us)
            state.apply(event, offset=record.offset, broker_time_us=record.broker_time_us, cost=cost)
        log_id = self.log_id(partition_of(session_id, PARTITIONS))
        record_of_state = state.to_record(log_id)
        columns = _state_columns(record_of_state, self._state_schema.encode(record_of_state, self._state_schema_id))
        self.clickhouse.insert("sessions", list(columns), arrow.ipc_stream(columns))
        return record_of_state


def _state_columns(record: dict[str, Any], value: bytes) -> dict[str, Any]:
    """The row of a state: what is not in the table is in ``state`` alone."""
    columns: dict[str, Any] = {"state": pa.array([value], pa.binary())}
    for name, item in record.items():
        if name in _NOT_IN_THE_TABLE:
            continue
        if name == "session_id":
            columns[name] = arrow.uuids([item])
        elif name == "parent_session_id":
            columns[name] = arrow.optional_uuids([item])
        elif name == "as_of" or name.endswith("_at"):
            columns[name] = pa.array([item], pa.int64()).cast(arrow.TIMESTAMP)
        elif name.endswith("cost_usd"):
            amount = None if item is None else Decimal(int.from_bytes(item, "big", signed=True)).scaleb(-18)
            columns[name] = arrow.money([amount])
        elif isinstance(item, list):
            columns[name] = arrow.lists([item])
        elif isinstance(item, dict):
            columns[name] = pa.array([list(item.items())], pa.map_(pa.string(), pa.string()))
        elif item is not None:
            columns[name] = pa.array([item])
    return columns


@dataclass
class Runtime:
    """One emitter of one session: makes its events, numbered."""

    session_id: str
    org_id: str = "acme"
    owner_team_id: str = "payments"
    emitter_id: str = "runtime"
    sequence: int = 0

    def event(self, kind: str, **payload: Any) -> dict[str, Any]:
        event = {
            "event_id": str(uuid5(NAMESPACE_URL, f"{self.session_id}/{self.emitter_id}/{self.sequence}")),
            "session_id": self.session_id,
            "emitter_id": self.emitter_id,
            "sequence": self.sequence,
            "occurred_at": 1_790_000_000_000_000 + self.sequence * 1_000_001,
            "nonce": bytes(16),
            "org_id": self.org_id,
            "agent_id": "billing",
            "owner_team_id": self.owner_team_id,
            "payload": (NAMESPACE + kind, payload),
        }
        self.sequence += 1
        return event

    def start(self, **payload: Any) -> dict[str, Any]:
        return self.event(
            "SessionStarted", agent_name="Billing agent", initiator="USER", origin="API", user_id="ada", **payload
        )

    def turn(self, index: int, content: str, role: str = "ASSISTANT", **payload: Any) -> dict[str, Any]:
        return self.event("TurnRecorded", turn_index=index, role=role, content=content, **payload)

    def model_call(self, index: int, call_id: str, model: str = "gpt-4o", **payload: Any) -> dict[str, Any]:
        return self.event(
            "ModelCallCompleted",
            model_call_id=call_id,
            provider="openai",
            model=model,
            turn_index=index,
            latency_ms=12.5,
            **payload,
        )

    def tool_start(self, index: int, call_id: str, **payload: Any) -> dict[str, Any]:
        call = {"tool_call_id": call_id, "tool_name": "get_order", "turn_index": index, "input": "{}"}
        return self.event("ToolCallStarted", **{**call, **payload})

    def tool_end(self, index: int, call_id: str, **payload: Any) -> dict[str, Any]:
        call = {"tool_call_id": call_id, "tool_name": "get_order", "turn_index": index, "status": "SUCCESS"}
        return self.event("ToolCallCompleted", **{**call, "latency_ms": 5.0, **payload})

    def end(self, status: str = "COMPLETED", **payload: Any) -> dict[str, Any]:
        return self.event("SessionEnded", status=status, ended_by="runtime", **payload)


_PRINCIPALS = {
    "admin": Principal("key:admin", None, frozenset({Permission.ADMIN})),
    "acme-payments": Principal("u1", "acme", frozenset({Permission.SESSIONS_READ}), frozenset({"payments"})),
    "acme-no-team": Principal("u2", "acme", frozenset({Permission.SESSIONS_READ})),
    "acme-all": Principal("u3", "acme", frozenset({Permission.SESSIONS_READ_ALL})),
    "beta-all": Principal("u4", "beta", frozenset({Permission.SESSIONS_READ_ALL})),
    "odd": Principal("u5", "o'\\\n\t\0ü", frozenset({Permission.SESSIONS_READ}), frozenset({"t'\\\n\t\0", "]", "ü"})),
}


class Keys:
    """One key for each kind of reader."""

    async def principal(self, token: str) -> Principal | None:
        return _PRINCIPALS.get(token)


@pytest.fixture(scope="module")
def ledger(broker_stack: Stack) -> Iterator[Ledger]:
    """A database of this test module's own."""
    database = f"ledger_{uuid4().hex[:8]}"
    clickhouse = ClickHouse(broker_stack.clickhouse_url, "admin", broker_stack.admin_key, database)
    migrate(clickhouse)
    registry = Registry(broker_stack.registry_url)
    # What is shown is audited first, and keys and budgets are in Kafka.
    for topic in TOPICS:
        registry.register(load_schema(topic.schema))
    Topics(broker_stack.kafka).ensure(TOPICS, Settings().partitions, 1)
    yield Ledger(clickhouse, registry)
    clickhouse.execute("DROP DATABASE {name:Identifier}", {"name": database}, database="")
    clickhouse.close()
    registry.close()


@pytest.fixture(scope="module")
def reader_settings(broker_stack: Stack, ledger: Ledger, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """How the API reaches that ledger: as the reader."""
    return Settings(
        clickhouse_url=broker_stack.clickhouse_url,
        clickhouse_user="reader",
        clickhouse_password=broker_stack.password("reader"),
        clickhouse_database=ledger.clickhouse.database,
        schema_registry_url=broker_stack.registry_url,
        kafka_bootstrap_servers=broker_stack.kafka,
        exports_dir=tmp_path_factory.mktemp("exports"),
        webhook_key=SecretStr("seals the secrets of these tests"),
    )


@pytest.fixture(scope="module")
def client(reader_settings: Settings) -> Iterator[TestClient]:
    """The API on that ledger, to somebody with the admin key unless a test says otherwise."""
    with TestClient(create_app(reader_settings, Keys()), headers={"Authorization": "Bearer admin"}) as client:
        yield client


@pytest.fixture(scope="session")
def new_runtime() -> Callable[..., Runtime]:
    """Makes the runtime of a new session."""
    return lambda **fields: Runtime(str(uuid4()), **fields)
