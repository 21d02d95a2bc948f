"""A stack with stream processors, and what a fleet and its operator do to it: publish events, set budgets, listen."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from time import monotonic, sleep
from typing import Any, TypeVar
from uuid import uuid4

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from procurator import events
from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.budgets import NOTICE_S, Budget, Counter, Threshold
from procurator.budgets.records import budget_to_record, counter_from_record
from procurator.budgets.spend import CounterKey
from procurator.clock import now_us
from procurator.deploy.embedded.layout import Ports
from procurator.deploy.embedded.stack import Stack, StackConfig
from procurator.kafka import consumer_config, producer_config
from procurator.registry import Registry
from procurator.topics import BUDGET_DEFINITIONS, BUDGET_SPEND, CONTROL, SESSION_EVENTS, SESSION_STATE, Topic

COMPONENTS = frozenset({"kafka", "registry", "clickhouse", "setup", "stream"})
PROVIDER, MODEL = "openai", "gpt-4o"
T = TypeVar("T")


@dataclass
class Fleet:
    """Publishes events as runtimes do, and definitions as the API does."""

    stack: Stack
    sent: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.registry = Registry(self.stack.registry_url)
        self._producer = Producer(producer_config(self.stack.kafka, **{"linger.ms": 1}))
        self._schemas = {t: load_schema(t.schema) for t in (SESSION_EVENTS, BUDGET_DEFINITIONS, CONTROL)}
        self._ids = {topic: self.registry.schema_id(schema) for topic, schema in self._schemas.items()}
        self._sequences: dict[str, int] = {}

    def put(self, topic: Topic, key: str, record: dict[str, Any]) -> None:
        self._producer.produce(topic.name, self._schemas[topic].encode(record, self._ids[topic]), key)
        self._producer.poll(0)

    def say(
        self, session_id: str, kind: str, payload: dict[str, Any], agent_id: str, **envelope: Any
    ) -> dict[str, Any]:
        """Publish one event; the next of its session's sequence unless said otherwise."""
        sequence = self._sequences.get(session_id, 0)
        self._sequences[session_id] = sequence + 1
        event = {
            "event_id": str(uuid4()),
            "session_id": session_id,
            "emitter_id": "runtime",
            "sequence": sequence,
            "occurred_at": now_us(),
            "nonce": bytes(16),
            "org_id": "acme",
            "agent_id": agent_id,
            "owner_team_id": "payments",
            "payload": (kind, payload),
            **envelope,
        }
        self.put(SESSION_EVENTS, session_id, event)
        self.sent.append(event)
        return event

    def start(self, agent_id: str, **fields: Any) -> str:
        session_id = str(uuid4())
        started = {"agent_name": agent_id, "initiator": "SYSTEM", "origin": "API", **fields}
        self.say(session_id, events.SESSION_STARTED, started, agent_id)
        return session_id

    def call(self, session_id: str, agent_id: str, tokens: int, **envelope: Any) -> dict[str, Any]:
        completed = {
            "model_call_id": str(uuid4()),
            "provider": PROVIDER,
            "model": MODEL,
            "latency_ms": 1.0,
            "output_tokens": tokens,
        }
        return self.say(session_id, events.MODEL_CALL_COMPLETED, completed, agent_id, **envelope)

    def end(self, session_id: str, agent_id: str, status: str = "COMPLETED") -> None:
        self.say(session_id, events.SESSION_ENDED, {"status": status, "ended_by": "runtime"}, agent_id)

    def define(self, budget: Budget) -> Budget:
        """Publish a definition and return once it holds, as the API does."""
        self.put(BUDGET_DEFINITIONS, budget.budget_id, budget_to_record(budget))
        self.flush()
        sleep(NOTICE_S)
        return budget

    def flush(self) -> None:
        assert self._producer.flush(60) == 0

    def budget(self, agent_id: str, limit: int, *thresholds: tuple[str, str], **changes: Any) -> Budget:
        """Define a budget, in tokens of an agent's lifetime unless said otherwise."""
        fields: dict[str, Any] = {
            "budget_id": str(uuid4()),
            "org_id": "acme",
            "name": agent_id,
            "scope": "AGENT",
            "scope_id": agent_id,
            "unit": "TOKENS",
            "limit": Decimal(limit),
            "period": "LIFETIME",
            "time_zone": "UTC",
            "thresholds": tuple(Threshold(Decimal(fraction), action) for fraction, action in thresholds),
            "updated_at_us": now_us(),
            **changes,
        }
        return self.define(Budget(**fields))

    @staticmethod
    def wait(what: Callable[[], T], why: str, seconds: float = 60.0) -> T:
        """Return the first true value of ``what()``."""
        until_s = monotonic() + seconds
        while not (value := what()):
            if monotonic() > until_s:
                pytest.fail(f"not in {seconds} s: {why}")
            sleep(0.01)
        return value


class Listener:
    """Everything on some topics from their start, decoded, with the time (µs) at which it was heard."""

    def __init__(self, stack: Stack, *topics: Topic) -> None:
        self._registry = Registry(stack.registry_url)
        self._topics = {topic.name: topic for topic in topics}
        self._decoders = {topic.name: Decoder(load_schema(topic.schema), self._registry.fetch) for topic in topics}
        self._consumer = Consumer(consumer_config(stack.kafka, f"listener-{uuid4()}", **{"fetch.wait.max.ms": 10}))
        partitions = self._consumer.list_topics(timeout=30).topics
        self._consumer.assign(
            [TopicPartition(name, n, OFFSET_BEGINNING) for name in self._topics for n in partitions[name].partitions]
        )
        self._stop = threading.Event()
        self.heard: dict[str, list[tuple[int, dict[str, Any]]]] = {name: [] for name in self._topics}
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def records(self, topic: Topic) -> list[dict[str, Any]]:
        return [record for _, record in list(self.heard[topic.name])]

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()
        self._registry.close()

    def _listen(self) -> None:
        while not self._stop.is_set():
            for message in self._consumer.consume(1_000, 0.05):
                if message.error() is None and message.value() is not None:
                    record = self._decoders[message.topic()].decode(message.value())
                    self.heard[message.topic()].append((now_us(), record))

    def signals(self, session_id: str) -> list[dict[str, Any]]:
        return [signal for signal in self.records(CONTROL) if signal["session_id"] == session_id]

    def state(self, session_id: str) -> dict[str, Any] | None:
        states = [state for state in self.records(SESSION_STATE) if state["session_id"] == session_id]
        return states[-1] if states else None

    def counters(self, budget_id: str) -> dict[CounterKey, Counter]:
        counters = map(counter_from_record, self.records(BUDGET_SPEND))
        return {counter.key: counter for counter in counters if counter.key.budget_id == budget_id}


@contextmanager
def listening(stack: Stack, *topics: Topic) -> Iterator[Listener]:
    listener = Listener(stack, *topics)
    try:
        yield listener
    finally:
        listener.close()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(StackConfig(tmp_path_factory.mktemp("budgets"), Ports.free(), COMPONENTS, say=print)) as stack:
        yield stack


@pytest.fixture
def fleet(stack: Stack) -> Iterator[Fleet]:
    fleet = Fleet(stack)
    yield fleet
    fleet.flush()
    fleet.registry.close()


@pytest.fixture
def listener(stack: Stack) -> Iterator[Listener]:
    with listening(stack, CONTROL, SESSION_STATE, BUDGET_SPEND) as listener:
        yield listener
