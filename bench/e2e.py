"""``procurator bench e2e``: from producers to the query API, everything on this machine, its cores shared by all.

First the *sustained rate*: events, made beforehand, are published as fast as Kafka takes them; the clock stops when the
ledger holds each entry and every session's state has seen its last event. Then the *latency*: while others publish at
half of that rate, probe sessions are run with the SDK and asked for over HTTP until `GET /v1/sessions/{id}` shows them.
There is no peer: no other product has this path.
"""

import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from procurator.bench.fleet import Fleet, Load
from procurator.bench.usage import Usage
from procurator.clickhouse import ClickHouse
from procurator.deploy.embedded.layout import Ports
from procurator.deploy.embedded.stack import Stack, StackConfig
from procurator.errors import Unavailable
from procurator.producers import Procurator

#: Whose part of the processors is told.
_COMPONENTS = ("kafka", "stream", "sink", "clickhouse", "api", "sign")
#: Few enough at once: each asks five times a second, and a hundred such requests a second take a processor.
_PROBES = 60
_PROBE_EVERY_S = 0.4
#: How often a probe is asked for, and a table counted: often enough to tell, too seldom to be a load of its own. One
#: that takes long is asked for more seldom, or many such would be what they wait for.
_LOOK_EVERY_S = 0.2
_LOOK_SHARE = 0.1
_COUNT_EVERY_S = 0.2
_WARM_UP_S = 3.0
_SETTLE_S = 300.0


def run(events: int = 200_000, rate: float | None = None, sessions: int = 1_000, processes: int = 1) -> dict[str, Any]:
    """Return the sustained ``events_per_s`` and ``latency_ms`` at half of it, or at ``rate`` if that is given."""
    with tempfile.TemporaryDirectory() as folder, _running_stack(Path(folder)) as (stack, clickhouse):
        _say(f"offering {events} events of {sessions} sessions from {processes} processes, as fast as they are taken")
        load = Load(stack.kafka, stack.registry_url, events, sessions=sessions, processes=processes)
        with Fleet(load) as fleet:
            usage, begin = Usage.begin(stack, _COMPONENTS), time.perf_counter()
            fleet.start()
            confirmed_per_s = fleet.confirmed()
            in_ledger_s = _await_count(clickhouse, "SELECT count() FROM events", events, begin)
            in_state_s = _await_count(clickhouse, "SELECT sum(events) FROM sessions FINAL", events, begin)
            cpu_s = usage.cpu_s()
        sustained = events / max(in_ledger_s, in_state_s)

        offered = rate or sustained / 2
        count = round(offered * (_WARM_UP_S + _PROBES * _PROBE_EVERY_S))
        _say(f"sustained {sustained:,.0f} events/s; now {_PROBES} probes at {offered:,.0f} events/s")
        with Fleet(replace(load, count=count, rate=offered, seed=1)) as fleet:
            fleet.start()
            time.sleep(_WARM_UP_S)
            usage, begin = Usage.begin(stack, _COMPONENTS), time.perf_counter()
            latencies = sorted(_probe(stack))
            probed_s, probed_cpu_s = time.perf_counter() - begin, usage.cpu_s()
            reached = fleet.confirmed()
    return {
        "events_per_s": round(sustained),
        "confirmed_by_kafka_per_s": round(confirmed_per_s),
        "in_ledger_s": round(in_ledger_s, 2),
        "in_session_state_s": round(in_state_s, 2),
        "cpu_us_per_event": {name: round(seconds / events * 1e6, 1) for name, seconds in cpu_s.items()},
        "latency_at_events_per_s": round(reached),
        "latency_ms": {f"p{p}": round(latencies[len(latencies) * p // 100], 1) for p in (50, 95, 99)},
        "cores_while_probed": {name: round(seconds / probed_s, 2) for name, seconds in probed_cpu_s.items()},
    }


@contextmanager
def _running_stack(folder: Path) -> Iterator[tuple[Stack, ClickHouse]]:
    with Stack(StackConfig(folder, Ports.free(), say=_say)) as stack:
        clickhouse = ClickHouse(stack.clickhouse_url, "admin", stack.admin_key, "procurator")
        yield stack, clickhouse
        clickhouse.close()


def _probe(stack: Stack) -> list[float]:
    """Start probe sessions at a steady pace; return the ms from each one's first event to its first appearance."""
    latencies: list[float] = []
    threads = []
    headers = {"Authorization": f"Bearer {stack.admin_key}"}
    limits = httpx.Limits(max_connections=_PROBES)
    with (
        httpx.Client(base_url=stack.api_url, headers=headers, timeout=30, limits=limits, trust_env=False) as api,
        Procurator(kafka_bootstrap_servers=stack.kafka, schema_registry_url=stack.registry_url) as sdk,
    ):
        sdk.connect()

        def watch(session_id: str, begin: float) -> None:
            while api.get(f"/v1/sessions/{session_id}").status_code != httpx.codes.OK:
                if (passed_s := time.perf_counter() - begin) > _SETTLE_S:
                    raise Unavailable(f"session {session_id} did not appear within {_SETTLE_S} s")
                time.sleep(max(_LOOK_EVERY_S, passed_s * _LOOK_SHARE))
            latencies.append((time.perf_counter() - begin) * 1000)

        for _ in range(_PROBES):
            begin = time.perf_counter()
            with sdk.session(agent="probe", user="bench") as session:
                threads.append(threading.Thread(target=watch, args=(session.session_id, begin)))
                threads[-1].start()
            time.sleep(max(0.0, begin + _PROBE_EVERY_S - time.perf_counter()))
        for thread in threads:
            thread.join()
    if len(latencies) != _PROBES:
        raise Unavailable(f"{_PROBES - len(latencies)} of {_PROBES} probe sessions did not appear")
    return latencies


def _await_count(clickhouse: ClickHouse, sql: str, count: int, begin: float) -> float:
    """Return the seconds from ``begin`` until the query answers ``count``."""
    while True:
        ((found,),) = clickhouse.rows(sql)
        passed_s = time.perf_counter() - begin
        if int(found or 0) >= count:
            return passed_s
        if passed_s > _SETTLE_S:
            raise Unavailable(f"{found} of {count} after {_SETTLE_S} s: {sql}")
        time.sleep(_COUNT_EVERY_S)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
