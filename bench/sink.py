"""``procurator bench sink``: events from Kafka into the ledger, beside ClickHouse's own Kafka table engine.

Both read the same topic, filled beforehand, one after the other, on the machine's cores together with Kafka. Ours runs
as `procurator sink` does; the database is the embedded one, with its text index, projection and exact bytes. What the
Merkle trees cost is told by runs of ours without them (`procurator.bench.sink_treeless`) between those with them, each
into a database of its own: by the rates, and by what an event takes of the processors, which moves less.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from procurator.avro_schemas.codec import load_schema
from procurator.bench.corpus import encode, stream
from procurator.bench.rates import steady_rate
from procurator.bench.usage import Usage
from procurator.clickhouse import ClickHouse
from procurator.deploy.embedded.components import INFRASTRUCTURE
from procurator.deploy.embedded.layout import Ports
from procurator.deploy.embedded.stack import Stack, StackConfig
from procurator.kafka import producer_config
from procurator.registry import Registry
from procurator.topics import SESSION_EVENTS

_STOP_S = 10.0
_WITHOUT_TREES = "procurator.bench.sink_treeless"
#: In which order: whatever drifts while they run is the same for both.
_ORDER = ("procurator", _WITHOUT_TREES, _WITHOUT_TREES, "procurator")


def run(events: int = 500_000, processes: int = 1) -> dict[str, Any]:
    """Push ``events`` through ``processes`` sinks, four times, then through the peer. Raises what the stack raises."""
    with tempfile.TemporaryDirectory() as folder:
        config = StackConfig(Path(folder), Ports.free(), INFRASTRUCTURE | {"setup"})
        with Stack(config) as stack:
            size_bytes = _produce(stack, events)
            runs = [(program, _ours(stack, events, processes, program, f"run_{n}")) for n, program in enumerate(_ORDER)]
            peer = _peer(stack, events)
    ours = _mean([figures for program, figures in runs if program != _WITHOUT_TREES])
    treeless = _mean([figures for program, figures in runs if program == _WITHOUT_TREES])
    return {
        **ours,
        "events": events,
        "event_bytes": size_bytes / events,
        "processes": processes,
        "without_trees": {**treeless, "ratio": ours["events_per_s"] / treeless["events_per_s"]},
        "peer": {"name": "ClickHouse Kafka table engine", **peer},
        "ratio": ours["events_per_s"] / peer["events_per_s"],
    }


def _produce(stack: Stack, events: int) -> int:
    """Fill the topic and return how many bytes of values went into it."""
    from confluent_kafka import Producer

    with closing(Registry(stack.registry_url)) as registry:
        schema_id = registry.schema_id(load_schema(SESSION_EVENTS.schema))
    producer = Producer(producer_config(stack.kafka, **{"queue.buffering.max.kbytes": 1 << 20, "linger.ms": 50}))
    size_bytes = 0
    for event in stream(events):
        value = encode(event, schema_id)
        size_bytes += len(value)
        while True:
            try:
                producer.produce(SESSION_EVENTS.name, value, event.session_id.encode())
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()
    return size_bytes


def _ours(stack: Stack, events: int, processes: int, program: str, database: str) -> dict[str, float]:
    into = {"PROCURATOR_CLICKHOUSE_DATABASE": database}
    setup = {**os.environ, **stack.env("setup"), **into}
    subprocess.run([sys.executable, "-m", "procurator", "setup"], env=setup, stdout=subprocess.DEVNULL, check=True)
    env = {**os.environ, **stack.env("sink"), **into}
    with ExitStack() as running:
        clickhouse = ClickHouse(stack.clickhouse_url, "admin", stack.admin_key, database)
        running.callback(clickhouse.close)
        sinks = [subprocess.Popen([sys.executable, "-m", program, "sink"], env=env) for _ in range(processes)]
        for sink in sinks:
            running.callback(_stop, sink)
        pids = {name: stack.pid(name) for name in ("kafka", "clickhouse")}
        pids |= {f"sink {n}": sink.pid for n, sink in enumerate(sinks)}
        begun: list[tuple[int, Usage]] = []

        def count() -> int:
            rows = int(clickhouse.rows("SELECT count() FROM events")[0][0])
            if rows and not begun:  # what had to start before the first rows is no event's
                begun.append((rows, Usage(pids)))
            return rows

        rate = steady_rate(count, events)
        ((first_rows, usage),) = begun
        cpu_s = usage.cpu_s()
        counts = clickhouse.rows("SELECT count(), uniqExact(log_id, offset), countIf(counted) FROM events")
    if counts != [[events] * 3]:
        raise AssertionError(f"rows, distinct records, counted: {counts}, not {events} each")
    with closing(ClickHouse(stack.clickhouse_url, "admin", stack.admin_key, "default")) as admin:
        admin.execute(f"DROP DATABASE {database} SYNC")  # its merges would be another run's burden
    took = {
        name: sum(seconds for process, seconds in cpu_s.items() if process.split()[0] == name)
        for name in ("kafka", "clickhouse", "sink")
    }
    counted = events - first_rows
    return {"events_per_s": rate, **{f"{name}_cpu_us_per_event": s / counted * 1e6 for name, s in took.items()}}


def _mean(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: sum(figures[name] for figures in runs) / len(runs) for name in runs[0]}


def _stop(sink: "subprocess.Popen[bytes]") -> None:
    sink.terminate()
    try:
        sink.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        sink.kill()
        sink.wait()


def _peer(stack: Stack, events: int) -> dict[str, float]:
    command = [sys.executable, "-m", "procurator.bench.sink_peer", stack.kafka, stack.registry_url, str(events)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    answer: dict[str, float] = json.loads(done.stdout)
    return answer
