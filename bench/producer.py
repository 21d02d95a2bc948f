"""What recording costs an agent: confirmed events a second, and µs an event in the caller.

Events are turns of 0.5 to 1.5 kB recorded with `Session.turn`, everything on (ids, nonces, limits, locks, confirmation
of each event). The peer is plain confluent-kafka in the same process: the same records, ready made, through its
AvroSerializer and its Producer with the same settings and a delivery callback. Runs alternate; the median counts.

- ``events_per_s``: from the first event until Kafka has confirmed the last, Kafka on the same machine.
- ``events_per_core_s``: the same events by the processor time of this process alone, librdkafka's threads included.
- ``caller_us``: duration of one call of an agent that is at work and makes one every 100 µs.
- ``caller_after_pause_us``: the same of the first call after the process has slept: the caches are cold then, for
  whatever code it is.
- ``spool_events_per_s``, ``replayed_events_per_s``: the same events to disk and back, see `spool`.
- ``import_ms``, ``idle_mib``: a new process that imports the SDK, and one that has a session open, beyond Python's own;
  with what ``procurator-ledger[producer]`` installs.
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
from procurator.bench.spool import measure_spool
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
_CALL_EVERY_NS = 100_000
_BURST = 50
_PAUSE_S = 0.005

#: What fastavro imports where it happens to find it: codecs of files, which no record has.
_NOT_OF_PRODUCER = ("cramjam", "zstandard", "lz4", "backports.zstd")

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
        texts = [record["payload"][1]["content"] for record in records]
        ours, theirs = [], []
        for _ in range(_ROUNDS):
            ours.append(_measure(events, *_sdk(bootstrap_servers, registry_url, records)))
            theirs.append(_measure(events, *_plain(bootstrap_servers, registry_url, records)))
        calls = _calls(*_sdk(bootstrap_servers, registry_url, records))
        peer_calls = _calls(*_plain(bootstrap_servers, registry_url, records))
        spool = measure_spool(bootstrap_servers, registry_url, texts)
        process = _process(bootstrap_servers, registry_url)
    answer, peer = _summary(ours), _summary(theirs)
    return {
        **answer,
        "events": events,
        **calls,
        **spool,
        **process,
        "peer": {"name": "confluent-kafka with its AvroSerializer", **peer, **peer_calls},
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


def _calls(send: Send, finish: Finish) -> dict[str, dict[str, float]]:
    """Return how long single calls take, µs: of an agent at work, and first thing after a pause."""
    send(_BURST)
    at_work, after_pause = [], []
    for number in range(_CALLS):
        if number % _BURST == 0:
            time.sleep(_PAUSE_S)
            after_pause.append(_timed_us(send))
        due_ns = time.perf_counter_ns() + _CALL_EVERY_NS
        at_work.append(_timed_us(send))
        while time.perf_counter_ns() < due_ns:
            pass
    finish()
    return {"caller_us": _percentiles(at_work), "caller_after_pause_us": _percentiles(after_pause)}


def _timed_us(send: Send) -> float:
    started_ns = time.perf_counter_ns()
    send(1)
    return (time.perf_counter_ns() - started_ns) / 1000


def _percentiles(took_us: list[float]) -> dict[str, float]:
    took_us.sort()
    return {f"p{percent}": round(took_us[len(took_us) * percent // 100], 1) for percent in (50, 95, 99)}


def _process(bootstrap_servers: str, registry_url: str) -> dict[str, float]:
    """Return what the SDK adds to a process: ms of its import, and MiB while a session is open.

    With what `procurator-ledger[producer]` installs, and no more.
    """
    script = (
        "import resource, sys, time\n"
        f"sys.modules.update(dict.fromkeys({_NOT_OF_PRODUCER}))\n"
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
