"""``procurator bench e2e``: from the SDK to the query API, everything on this machine, its cores shared by all.

First the *sustained rate*: events are offered as fast as the SDK takes them; the clock stops when the ledger holds each
entry and every session's state has seen its last event. Then the *latency*: at half of that rate, probe sessions are
started and asked for over HTTP until `GET /v1/sessions/{id}` shows them.
There is no peer: no other product has this path.
"""

import multiprocessing
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx

from procurator.bench import corpus
from procurator.clickhouse import ClickHouse
from procurator.deploy.embedded.layout import Ports
from procurator.deploy.embedded.stack import Stack, StackConfig
from procurator.errors import Unavailable
from procurator.events import SessionEvent
from procurator.producers import Procurator

_PROBES = 100
_PROBE_EVERY_S = 0.15
_SETTLE_S = 300.0
_PACE_S = 0.02


@dataclass(frozen=True)
class Load:
    """What one producing process offers. ``rate`` in events per second, None for as fast as possible."""

    kafka: str
    registry: str
    count: int
    seed: int
    sessions: int
    rate: float | None


def run(events: int = 200_000, rate: float | None = None, sessions: int = 1_000, processes: int = 1) -> dict[str, Any]:
    """Return the sustained ``events_per_s`` and ``latency_ms`` at half of it, or at ``rate`` if that is given."""
    with tempfile.TemporaryDirectory() as folder, _running_stack(Path(folder)) as (stack, clickhouse):
        _say(f"offering {events} events of {sessions} sessions from {processes} processes, as fast as they are taken")
        begin = time.perf_counter()
        with _offered(stack, events, sessions, processes, None, seed=0) as confirmed:
            confirmed()
        confirmed_s = time.perf_counter() - begin
        in_ledger_s = _await_count(clickhouse, "SELECT count() FROM events", events, begin)
        in_state_s = _await_count(clickhouse, "SELECT sum(events) FROM sessions FINAL", events, begin)
        sustained = events / max(in_ledger_s, in_state_s)

        offered = rate or sustained / 2
        seconds = _PROBES * _PROBE_EVERY_S
        _say(f"sustained {sustained:,.0f} events/s; now {_PROBES} probes at {offered:,.0f} events/s")
        with _offered(stack, round(offered * seconds), sessions, processes, offered, seed=1) as confirmed:
            latencies = sorted(_probe(stack))
            confirmed()
    return {
        "events_per_s": round(sustained),
        "confirmed_by_kafka_s": round(confirmed_s, 2),
        "in_ledger_s": round(in_ledger_s, 2),
        "in_session_state_s": round(in_state_s, 2),
        "latency_at_events_per_s": round(offered),
        "latency_ms": {f"p{p}": round(latencies[len(latencies) * p // 100], 1) for p in (50, 95, 99)},
    }


@contextmanager
def _running_stack(folder: Path) -> Iterator[tuple[Stack, ClickHouse]]:
    with Stack(StackConfig(folder, Ports.free(), say=_say)) as stack:
        clickhouse = ClickHouse(stack.clickhouse_url, "admin", stack.admin_key, "procurator")
        yield stack, clickhouse
        clickhouse.close()


@contextmanager
def _offered(
    stack: Stack, count: int, sessions: int, processes: int, rate: float | None, seed: int
) -> Iterator[Callable[[], None]]:
    """Offer events from other processes; yield a function that waits until Kafka has confirmed them all."""
    shares = [count // processes + (n < count % processes) for n in range(processes)]
    # Spawned, not forked: librdkafka's threads do not survive a fork.
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        offers = [
            pool.submit(
                _offer,
                Load(
                    stack.kafka,
                    stack.registry_url,
                    share,
                    seed * 1_000 + n,
                    max(1, sessions // processes),
                    rate and rate / processes,
                ),
            )
            for n, share in enumerate(shares)
        ]

        def confirmed() -> None:
            for offer in offers:
                offer.result()

        yield confirmed


def _offer(load: Load) -> None:
    """Publish through the SDK at the load's rate; return when Kafka has confirmed all, else raise DeliveryFailed."""
    with Procurator(
        kafka_bootstrap_servers=load.kafka, schema_registry_url=load.registry, queue_wait_s=60, flush_s=120
    ) as sdk:
        begin = time.perf_counter()
        for number, event in enumerate(corpus.stream(load.count, seed=load.seed, sessions_at_once=load.sessions)):
            sdk.publish(cast(SessionEvent, {**_DEFAULTS, **event.record}))
            if load.rate and number % 64 == 0:
                ahead_s = number / load.rate - (time.perf_counter() - begin)
                if ahead_s > _PACE_S:
                    time.sleep(ahead_s)


_DEFAULTS: dict[str, Any] = {"imported": False, "estimated": [], "truncations": [], "redactions": []}


def _probe(stack: Stack) -> list[float]:
    """Start probe sessions at a steady pace; return the ms from each one's first event to its first appearance."""
    latencies: list[float] = []
    threads = []
    headers = {"Authorization": f"Bearer {stack.admin_key}"}
    limits = httpx.Limits(max_connections=_PROBES)
    with (
        httpx.Client(base_url=stack.api_url, headers=headers, timeout=30, limits=limits) as api,
        Procurator(kafka_bootstrap_servers=stack.kafka, schema_registry_url=stack.registry_url) as sdk,
    ):
        sdk.connect()

        def watch(session_id: str, begin: float) -> None:
            while api.get(f"/v1/sessions/{session_id}").status_code != httpx.codes.OK:
                if time.perf_counter() - begin > _SETTLE_S:
                    raise Unavailable(f"session {session_id} did not appear within {_SETTLE_S} s")
                time.sleep(0.02)
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
        time.sleep(0.05)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
