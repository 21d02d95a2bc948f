"""What recording costs an agent: confirmed events a second, and µs an event in the caller.

Events are turns of 0.5 to 1.5 kB recorded with `Session.turn`, everything on (ids, nonces, limits, locks, confirmation
of each event). The peer is plain confluent-kafka in the same process: the same records, ready made, through its
AvroSerializer and its Producer with the same settings and a delivery callback. Runs alternate; the median counts.

- ``events_per_s``: from the first event until Kafka has confirmed the last, Kafka on the same machine.
- ``events_per_core_s``: the same events by the processor time of this process alone, librdkafka's threads included.
- ``caller_us``: duration of one call at a tenth of that rate, as an agent sees it.
- ``spool_events_per_s``: Kafka away, the same events until each group of 1,000 is on disk and synced.
- ``import_ms``, ``idle_mib``: a new process that imports the SDK, and one that has a session open, beyond Python's own.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from procurator.avro_schemas.codec import load_schema
from procurator.bench.corpus import stream
from procurator.events import TURN_RECORDED
from procurator.kafka import Topics, producer_config
from procurator.producers import Procurator, Session
from procurator.producers.broker import LIBRDKAFKA_EVENTS_MAX, LIBRDKAFKA_KIB_MAX
from procurator.registry import Registry
from procurator.topics import SESSION_EVENTS

_PARTITIONS = 4
_ROUNDS = 3
_SESSIONS = 16
_CALLS = 20_000
_BURST = 50
_PAUSE_S = 0.005
_SPOOLED = 50_000
_GROUP = 1_000

Send = Callable[[int], None]
Finish = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Figures:
    """One run: events a second of wall time, and of this process's processor time."""

    per_s: float
    per_core_s: float


def run(events: int = 100_000, kafka: str | None = None, registry: str | None = None) -> dict[str, Any]:
    """Measure with ``events`` events a round; without ``kafka`` and ``registry``, on an embedded stack of its own."""
    with _stack(kafka, registry) as (bootstrap_servers, registry_url):
        _set_up(bootstrap_servers, registry_url)
        records = _records(min(events, 20_000))
        ours, theirs = [], []
        for _ in range(_ROUNDS):
            ours.append(_measure(events, *_sdk(bootstrap_servers, registry_url, records)))
            theirs.append(_measure(events, *_plain(bootstrap_servers, registry_url, records)))
        caller_us = _calls(*_sdk(bootstrap_servers, registry_url, records))
        peer_us = _calls(*_plain(bootstrap_servers, registry_url, records))
        process = _process(bootstrap_servers, registry_url)
    answer, peer = _summary(ours), _summary(theirs)
    return {
        **answer,
        "events": events,
        "caller_us": caller_us,
        "spool_events_per_s": _spooled(records),
        **process,
        "peer": {"name": "confluent-kafka with its AvroSerializer", **peer, "caller_us": peer_us},
        "ratio": round(answer["events_per_s"] / peer["events_per_s"], 2),
    }


@contextmanager
def _stack(kafka: str | None, registry: str | None) -> Iterator[tuple[str, str]]:
    if kafka and registry:
        yield kafka, registry
        return
    from procurator.deploy.embedded.layout import Ports
    from procurator.deploy.embedded.stack import Stack, StackConfig

    with TemporaryDirectory(prefix="procurator-bench-") as folder:
        config = StackConfig(Path(folder), Ports.free(), frozenset({"kafka", "registry"}))
        with Stack(config) as stack:
            yield stack.kafka, stack.registry_url


def _set_up(bootstrap_servers: str, registry_url: str) -> None:
    registry = Registry(registry_url)
    registry.register(load_schema("session_event"))
    registry.close()
    Topics(bootstrap_servers).ensure([SESSION_EVENTS], _PARTITIONS, 1)


def _records(count: int) -> list[dict[str, Any]]:
    turns = (event.record for event in stream(20 * count) if event.record["payload"][0] == TURN_RECORDED)
    return list(islice(turns, count))


def _sdk(bootstrap_servers: str, registry_url: str, records: list[dict[str, Any]]) -> tuple[Send, Finish]:
    procurator = Procurator(
        kafka_bootstrap_servers=bootstrap_servers,
        schema_registry_url=registry_url,
        on_full="block",
        queue_wait_s=60,
        environment={},
    )
    sessions: list[Session] = [procurator.session(agent="bench").start() for _ in range(_SESSIONS)]
    work = cycle(list(zip(cycle(sessions), [record["payload"][1]["content"] for record in records], strict=False)))

    def send(count: int) -> None:
        for session, text in islice(work, count):
            session.turn("assistant", text)

    def finish() -> None:
        procurator.close()

    return send, finish


def _plain(bootstrap_servers: str, registry_url: str, records: list[dict[str, Any]]) -> tuple[Send, Finish]:
    from confluent_kafka import Producer
    from confluent_kafka.schema_registry import SchemaRegistryClient, record_subject_name_strategy
    from confluent_kafka.schema_registry.avro import AvroSerializer
    from confluent_kafka.serialization import MessageField, SerializationContext

    serializer = AvroSerializer(
        SchemaRegistryClient({"url": registry_url}),
        load_schema("session_event").text,
        conf={"auto.register.schemas": False, "subject.name.strategy": record_subject_name_strategy},
    )
    bounds = {"queue.buffering.max.messages": LIBRDKAFKA_EVENTS_MAX, "queue.buffering.max.kbytes": LIBRDKAFKA_KIB_MAX}
    producer = Producer(producer_config(bootstrap_servers, **bounds))
    context = SerializationContext(SESSION_EVENTS.name, MessageField.VALUE)
    confirmed = 0

    def delivered(error: Any, message: Any) -> None:
        nonlocal confirmed
        confirmed += error is None

    work = cycle(records)

    def send(count: int) -> None:
        for record in islice(work, count):
            value = serializer(record, context)
            while True:
                try:
                    producer.produce(SESSION_EVENTS.name, value, record["session_id"], on_delivery=delivered)
                    break
                except BufferError:
                    producer.poll(0.05)
            producer.poll(0)

    def finish() -> None:
        producer.flush(60)
        if len(producer) or not confirmed:
            raise AssertionError("the peer's events were not confirmed")  # a fast lost event is worth nothing

    return send, finish


def _measure(events: int, send: Send, finish: Finish) -> Figures:
    send(_SESSIONS)
    started_s, started_core_s = time.perf_counter(), time.process_time()
    send(events)
    finish()
    return Figures(events / (time.perf_counter() - started_s), events / (time.process_time() - started_core_s))


def _calls(send: Send, finish: Finish) -> dict[str, float]:
    """Return p50, p95 and p99 of single calls, µs, in bursts with pauses."""
    send(_BURST)
    took = []
    for number in range(_CALLS):
        if number % _BURST == 0:
            time.sleep(_PAUSE_S)
        started_ns = time.perf_counter_ns()
        send(1)
        took.append((time.perf_counter_ns() - started_ns) / 1000)
    finish()
    took.sort()
    return {f"p{percent}": round(took[len(took) * percent // 100], 1) for percent in (50, 95, 99)}


def _spooled(records: list[dict[str, Any]]) -> int:
    """Return how many events a second become durable in groups while there is no Kafka."""
    contents = [record["payload"][1]["content"] for record in records]
    with TemporaryDirectory(prefix="procurator-bench-spool-") as folder:
        nowhere = "127.0.0.1:9"
        procurator = Procurator(
            kafka_bootstrap_servers=nowhere,
            schema_registry_url=f"http://{nowhere}",
            spool_dir=folder,
            control=False,
            environment={},
        )
        session = procurator.session(agent="bench").start()
        procurator.confirm(30)
        began_s = time.perf_counter()
        for number, text in enumerate(islice(cycle(contents), _SPOOLED), 1):
            session.turn("assistant", text)
            if number % _GROUP == 0:
                procurator.confirm(30)
        took_s = time.perf_counter() - began_s
        if procurator.close(0) < _SPOOLED:
            raise AssertionError("events are not on disk")
    return round(_SPOOLED / took_s)


def _process(bootstrap_servers: str, registry_url: str) -> dict[str, float]:
    """Return what the SDK adds to a process: ms of its import, and MiB while a session is open."""
    script = (
        "import resource, sys, time\n"
        "def mib(): return int(open('/proc/self/statm').read().split()[1]) * resource.getpagesize() / 2**20\n"
        "before, began = mib(), time.perf_counter()\n"
        "from procurator.producers import Procurator\n"
        "took = time.perf_counter() - began\n"
        "p = Procurator(kafka_bootstrap_servers=sys.argv[1], schema_registry_url=sys.argv[2], environment={})\n"
        "p.connect(); s = p.session(); s.start(); p.flush()\n"
        "print(took * 1000, mib() - before)\n"
    )
    command = [sys.executable, "-c", script, bootstrap_servers, registry_url]
    runs = [subprocess.run(command, check=True, capture_output=True, text=True).stdout.split() for _ in range(_ROUNDS)]
    return {
        "import_ms": round(median(float(took) for took, _ in runs), 1),
        "idle_mib": round(median(float(mib) for _, mib in runs), 1),
    }


def _summary(rounds: list[Figures]) -> dict[str, Any]:
    return {
        "events_per_s": round(median(figures.per_s for figures in rounds)),
        "events_per_core_s": round(median(figures.per_core_s for figures in rounds)),
    }
