"""How many events a second one worker folds into session states, beside QuixStreams calling the same functions.

A Kafka and a registry of their own; events drawn from the traces, of a thousand sessions at a time; then `procurator
stream`, then the peer, each alone on the same topic from its start. The rate is read off what they published: how far
the published states had come, and when Kafka says they arrived, from a tenth of the way to the end. So starting up,
joining a group and restoring are not in it, but everything else is: fetching, decoding, rules, pricing, the state,
publishing it durably, committing. Afterwards the states are compared with a recount: a wrong result is no result.
"""

import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import Consumer, Producer

from procurator import topics
from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.bench import corpus, recount
from procurator.deploy.embedded.layout import Ports
from procurator.deploy.embedded.stack import Stack, StackConfig
from procurator.errors import Fatal
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

_WARM_UP_SHARE = 0.1
_TIMEOUT_S = 600.0


class Pace(NamedTuple):
    """What was measured of one worker."""

    events_per_s: float
    states_published: int
    #: Processor time, of all its threads, starting included.
    cpu_us_per_event: float


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
            return {
                "events": events,
                "bytes_per_event": round(bytes_per_event),
                "events_per_s": round(ours.events_per_s),
                "states_published": ours.states_published,
                "cpu_us_per_event": round(ours.cpu_us_per_event, 1),
                "sessions_checked": bench.check(),
                "peer": {
                    "name": "QuixStreams",
                    "events_per_s": round(peer.events_per_s),
                    "states_published": peer.states_published,
                    "cpu_us_per_event": round(peer.cpu_us_per_event, 1),
                },
                "ratio": round(ours.events_per_s / peer.events_per_s, 2),
            }


class _Bench:
    def __init__(self, stack: Stack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder
        self._registry = Registry(stack.registry_url)
        self._prices = list_prices()
        others = [topic for topic in topics.TOPICS if topic.name != STATES]
        Topics(stack.kafka).ensure((*others, OUR_STATES, PEER_STATES), PARTITIONS, 1)
        self._schema_ids = {topic.schema: self._registry.register(load_schema(topic.schema)) for topic in topics.TOPICS}

    def load(self, count: int, seed: int) -> float:
        """Publish the prices and the events; return how many bytes an event has."""
        producer = Producer(producer_config(self._stack.kafka))
        for record in self._prices:
            value = load_schema("price").encode(to_avro(record), self._schema_ids["price"])
            producer.produce(topics.PRICES.name, value, price_key(record.provider, record.model, record.org_id))
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
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(30)
        return self._pace(states, events, _children_cpu_s() - before_s)

    def check(self) -> int:
        """Return how many sessions were compared with the recount."""
        expected = recount.recounted(self._stack.kafka, EVENTS, self._registry.fetch, PriceBook.of(self._prices))
        found = recount.published(self._stack.kafka, STATES, self._registry.fetch)
        if wrong := recount.differences(expected, found):
            raise Fatal(f"{len(wrong)} fields differ from the recount, the first: {wrong[0]}")
        return len(expected)

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

    def _pace(self, states: str, events: int, cpu_s: float) -> Pace:
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
        return Pace((end - start) / (end_ms - start_ms) * 1000, len(sent), cpu_s / events * 1e6)


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
