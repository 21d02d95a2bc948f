"""How many events a second one worker folds into session states, beside QuixStreams calling the same functions.

A Kafka and a registry of their own; events drawn from the traces, of a thousand sessions at a time; then `procurator
stream`, then the peer, each alone on the same topic from its start. The rate is read off what they published: how far
the published states had come, and when Kafka says they arrived, from a tenth of the way to the end. So starting up,
joining a group and restoring are not in it, but everything else is: fetching, decoding, rules, pricing, the state,
publishing it durably, committing. Ours also counts every call against budgets of its agent, its team and its
organisation, which the peer does not. Afterwards states and budgets are compared with a recount: a wrong result is no
result. What open sessions take of a worker's memory is measured by itself (`recovery`).
"""

import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import Consumer, Producer

from procurator import topics
from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.bench import corpus, recount
from procurator.bench.machine import memory_mib
from procurator.bench.recovery import memory_of_open_sessions
from procurator.budget_topics import BudgetTopics
from procurator.budgets import NOTIFY, TERMINATE, Budget, Threshold
from procurator.budgets.definition import AGENT, ORGANISATION, TEAM
from procurator.budgets.records import budget_to_record
from procurator.deploy.embedded.layout import Ports
from procurator.deploy.embedded.stack import Stack, StackConfig
from procurator.errors import Fatal
from procurator.events import TOKEN_BUCKETS
from procurator.kafka import Topics, producer_config
from procurator.price_codec import to_avro
from procurator.price_record import price_key
from procurator.price_source import list_prices
from procurator.pricing import PriceBook
from procurator.registry import Registry
from procurator.topics import Topic

PARTITIONS = 4
EVENTS = topics.SESSION_EVENTS.name
STATES = topics.SESSION_STATE.name
#: Both outputs are stamped by Kafka: the peer hands its input's time on.
OUR_STATES = replace(topics.SESSION_STATE, ledgered=True)
PEER_STATES = Topic("bench.peer.states", "session_state", "compact", -1, ledgered=True)
PEER_GROUP = "bench-peer"

_LEVELS = (ORGANISATION, TEAM, AGENT)
#: Whose the corpus's sessions are.
_ORGANISATIONS = [f"org-{n}" for n in range(4)]
_TEAMS = [f"team-{n}" for n in range(12)]
_AGENTS = [f"agent-{n}" for n in range(40)]
_WARM_UP_SHARE = 0.1
_TIMEOUT_S = 600.0


class Pace(NamedTuple):
    """What was measured of one worker."""

    events_per_s: float
    states_published: int
    #: Processor time, of all its threads, starting included.
    cpu_us_per_event: float
    #: The most memory that it was resident with.
    resident_mib: float


def run(events: int = 200_000, seed: int = 0) -> dict[str, Any]:
    """Measure and return the figures. Raises Fatal when a state differs from the recount."""
    with tempfile.TemporaryDirectory(prefix="procurator-bench-") as folder:
        only = frozenset({"kafka", "registry"})
        with Stack(StackConfig(Path(folder) / "stack", Ports.free(), only)) as stack:
            bench = _Bench(stack, Path(folder))
            bytes_per_event = bench.load(events, seed)
            ours = bench.measure(["-m", "procurator", "stream"], "procurator-stream", STATES, events)
            peer = bench.measure(
                ["-m", "procurator.bench.stream_peer", PEER_GROUP], PEER_GROUP, PEER_STATES.name, events
            )
            figures = {
                "events": events,
                "bytes_per_event": round(bytes_per_event),
                "events_per_s": round(ours.events_per_s),
                "states_published": ours.states_published,
                "cpu_us_per_event": round(ours.cpu_us_per_event, 1),
                "resident_mib": round(ours.resident_mib),
                "sessions_checked": bench.check(),
                "budgets_checked": len(bench.budgets),
                "peer": {
                    "name": "QuixStreams",
                    "events_per_s": round(peer.events_per_s),
                    "states_published": peer.states_published,
                    "cpu_us_per_event": round(peer.cpu_us_per_event, 1),
                    "resident_mib": round(peer.resident_mib),
                },
                "ratio": round(ours.events_per_s / peer.events_per_s, 2),
            }
    return {**figures, "mib_per_100000_open_sessions": round(memory_of_open_sessions(100_000))}


class _Bench:
    def __init__(self, stack: Stack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder
        self._registry = Registry(stack.registry_url)
        self._prices = list_prices()
        self.budgets = list(_budgets())
        others = [topic for topic in topics.TOPICS if topic.name != STATES]
        Topics(stack.kafka).ensure((*others, OUR_STATES, PEER_STATES), PARTITIONS, 1)
        self._schema_ids = {topic.schema: self._registry.register(load_schema(topic.schema)) for topic in topics.TOPICS}

    def load(self, count: int, seed: int) -> float:
        """Publish the prices, the budgets and the events; return how many bytes an event has."""
        producer = Producer(producer_config(self._stack.kafka))
        for record in self._prices:
            value = load_schema("price").encode(to_avro(record), self._schema_ids["price"])
            producer.produce(topics.PRICES.name, value, price_key(record.provider, record.model, record.org_id))
        for budget in self.budgets:
            value = load_schema("budget_definition").encode(
                budget_to_record(budget), self._schema_ids["budget_definition"]
            )
            producer.produce(topics.BUDGET_DEFINITIONS.name, value, budget.budget_id)
        size = 0
        for event in corpus.stream(count, seed=seed):
            value = corpus.encode(event, self._schema_ids["session_event"])
            size += len(value)
            _produce(producer, value, event.session_id)
        if left := producer.flush(_TIMEOUT_S):
            raise Fatal(f"{left} events were not delivered")
        return size / count

    def measure(self, arguments: Sequence[str], group_id: str, states: str, events: int) -> Pace:
        """Run a worker until it has committed everything; return its pace."""
        before_s = _children_cpu_s()
        with (self._folder / f"{group_id}.log").open("wb") as log:
            process = subprocess.Popen([sys.executable, *arguments], env=self._environment(), stdout=log, stderr=log)
            try:
                self._await_commits(group_id, process)
                resident_mib, _ = memory_mib(process.pid)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(30)
        return self._pace(states, events, _children_cpu_s() - before_s, resident_mib)

    def check(self) -> int:
        """Return how many sessions were compared with the recount."""
        expected = recount.recounted(self._stack.kafka, EVENTS, self._registry.fetch, PriceBook.of(self._prices))
        found = recount.published(self._stack.kafka, STATES, self._registry.fetch)
        if wrong := recount.differences(expected, found):
            raise Fatal(f"{len(wrong)} fields differ from the recount, the first: {wrong[0]}")
        self._check_budgets(sum(state[bucket] for state in expected.values() for bucket in TOKEN_BUCKETS))
        return len(expected)

    def _check_budgets(self, tokens: int) -> None:
        """Raise Fatal unless each level of budgets has counted all ``tokens``."""
        found = BudgetTopics.read(self._stack.kafka, self._registry)
        levels: Counter[str] = Counter()
        for counter in found.counters:
            levels[found.budgets[counter.key.budget_id].scope] += counter.spent_tokens
        if levels != dict.fromkeys(_LEVELS, tokens):
            raise Fatal(f"budgets have counted {dict(levels)}, not {tokens} tokens on each level")

    def _environment(self) -> Mapping[str, str]:
        return {**os.environ, **self._stack.env("stream"), "PROCURATOR_DATA_DIR": str(self._folder)}

    def _await_commits(self, group_id: str, process: "subprocess.Popen[bytes]") -> None:
        consumer = Consumer({"bootstrap.servers": self._stack.kafka, "group.id": group_id})
        deadline_s = time.monotonic() + _TIMEOUT_S
        while recount.lag(consumer, EVENTS, PARTITIONS) != 0:
            if process.poll() is not None:
                raise Fatal(f"{group_id} ended: {(self._folder / f'{group_id}.log').read_text()[-2000:]}")
            if time.monotonic() > deadline_s:
                raise Fatal(f"{group_id} did not commit all within {_TIMEOUT_S:.0f} s")
            time.sleep(0.5)
        consumer.close()

    def _pace(self, states: str, events: int, cpu_s: float, resident_mib: float) -> Pace:
        decoder = Decoder(load_schema("session_state"), self._registry.fetch)
        sent = [
            (message.timestamp()[1], message.partition(), decoder.decode(message.value())["as_of_offset"])
            for message in recount.read_to_end(self._stack.kafka, states)
        ]
        sent.sort()
        reached = dict.fromkeys(range(PARTITIONS), 0)
        progress = []
        for time_ms, partition, offset in sent:
            reached[partition] = max(reached[partition], offset + 1)
            progress.append((time_ms, sum(reached.values())))
        start_ms, start = next(at for at in progress if at[1] >= _WARM_UP_SHARE * events)
        end_ms, end = next(at for at in progress if at[1] == progress[-1][1])
        return Pace((end - start) / (end_ms - start_ms) * 1000, len(sent), cpu_s / events * 1e6, resident_mib)


def _budgets() -> Iterator[Budget]:
    """Yield budgets of every organisation, team and agent of the corpus, none of which is ever exhausted."""
    for org_id in _ORGANISATIONS:
        for scope, names in zip(_LEVELS, ((org_id,), _TEAMS, _AGENTS), strict=True):
            for name in names:
                yield Budget(
                    budget_id=f"{scope}-{org_id}-{name}",
                    org_id=org_id,
                    name=name,
                    scope=scope,
                    scope_id=name,
                    unit="TOKENS",
                    limit=Decimal(2**62),
                    period="DAY",
                    time_zone="UTC",
                    thresholds=(Threshold(Decimal("0.8"), NOTIFY), Threshold(Decimal(1), TERMINATE)),
                )


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _produce(producer: Producer, value: bytes, key: str) -> None:
    while True:
        try:
            producer.produce(EVENTS, value, key)
            return
        except BufferError:
            producer.poll(0.1)
