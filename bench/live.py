"""``procurator bench live``: how soon a session is stopped, on the whole stack of this machine, which is under load.

Probes run a session through the SDK each. *Budget*: from the event that breaks a budget, as it is recorded, until the
session's runtime is told, and until `SessionTerminated` is raised in its thread. *Terminate*: from the request
`POST /v1/sessions/{id}/terminate` until the same. There is no peer: no other product stops a running session.
Of the first, also where the time goes (`live_stages`). Then, without that load, how soon listeners are shown an event
(`live_sse`).
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from procurator.bench import live_sse
from procurator.bench.fleet import Fleet, Load
from procurator.bench.live_stages import Probe, stages
from procurator.deploy.embedded.layout import Ports
from procurator.deploy.embedded.stack import Stack, StackConfig
from procurator.errors import Unavailable
from procurator.producers import Procurator, SessionTerminated

_PROBES = 100
_PROBE_EVERY_S = 0.1
_WARM_UP_S = 5.0
_LOOK_EVERY_S = 0.25
#: What it takes until the API shows every session that is to be terminated.
_SHOWN_S = 5.0
_ANSWER_S = 60.0
_ORG_ID = "bench-live"
_LEVELS = (("ORGANISATION", _ORG_ID, "1000000000"), ("TEAM", "bench", "1000000000"))


def run(rate: float = 5_000.0, sessions: int = 1_000) -> dict[str, Any]:
    """Return ``latency_ms`` of a broken budget, and of both causes by when they were told and raised."""
    with tempfile.TemporaryDirectory() as folder, Stack(StackConfig(Path(folder), Ports.free(), say=_say)) as stack:
        headers = {"Authorization": f"Bearer {stack.admin_key}"}
        seconds = _WARM_UP_S + 2 * (_PROBES * _PROBE_EVERY_S + 3.0) + _SHOWN_S
        load = Load(stack.kafka, stack.registry_url, round(rate * seconds), rate, sessions)
        with (
            httpx.Client(base_url=stack.api_url, headers=headers, timeout=_ANSWER_S, trust_env=False) as api,
            Procurator(
                kafka_bootstrap_servers=stack.kafka,
                schema_registry_url=stack.registry_url,
                org_id=_ORG_ID,
                owner_team_id="bench",
            ) as sdk,
            Fleet(load) as fleet,
        ):
            for scope, scope_id, limit in _LEVELS:
                _define(api, scope, scope_id, limit)
            agents = [f"probe-{number}" for number in range(_PROBES)]
            with ThreadPoolExecutor(10) as definers:
                list(definers.map(lambda agent_id: _define(api, "AGENT", agent_id, "100"), agents))
            fleet.start()
            time.sleep(_WARM_UP_S)
            probes: list[Probe] = []
            budget = _probe(lambda number: _break_budget(sdk, agents[number], probes))
            terminate = _terminations(sdk, api)
            offered = fleet.confirmed()
            where = {name: _percentiles(tuple(seconds)) for name, seconds in stages(stack, probes).items()}
        sse = live_sse.measure(stack)
    return {
        "latency_ms": budget["raised"],
        "at_events_per_s": round(offered),
        "budget_ms": {**budget, "stages": where},
        "terminate_ms": terminate,
        "probes": _PROBES,
        "sse_ms": sse,
    }


def _break_budget(sdk: Procurator, agent_id: str, probes: list[Probe]) -> tuple[float, float]:
    """Return the seconds from breaking the agent's budget until the runtime is told, and until it is raised."""
    told: list[float] = []
    with _terminated(), sdk.session(agent=agent_id, on_signal=lambda _: told.append(time.perf_counter())) as session:
        with session.model_call("openai", "gpt-4o") as call:
            begin, begun_s = time.perf_counter(), time.time()
            call.complete(output_tokens=100)
        session.cancelled.wait(_ANSWER_S)
        session.check()
    raised_s = time.perf_counter() - begin
    probes.append(Probe(session.session_id, begun_s, begun_s + told[0] - begin))
    return told[0] - begin, raised_s


def _terminations(sdk: Procurator, api: httpx.Client) -> dict[str, dict[str, float]]:
    """Run sessions until the API shows each, then terminate them at a steady pace."""
    waiting = [_Waiting() for _ in range(_PROBES)]
    with ThreadPoolExecutor(_PROBES) as sessions, ThreadPoolExecutor(_PROBES) as callers:
        ends = [sessions.submit(probe.run, sdk) for probe in waiting]
        paths = [f"/v1/sessions/{probe.session_id.result(_ANSWER_S)}" for probe in waiting]
        until_s = time.monotonic() + _ANSWER_S
        for path in paths:
            while api.get(path).status_code != httpx.codes.OK and time.monotonic() < until_s:
                time.sleep(_LOOK_EVERY_S)
        asked = []
        for probe, path in zip(waiting, paths, strict=True):
            probe.begin_s = time.perf_counter()
            asked.append(callers.submit(api.post, f"{path}/terminate", json={"reason": "bench"}))
            time.sleep(_PROBE_EVERY_S)
        for answer in asked:
            answer.result().raise_for_status()
        return _shown([end.result() for end in ends])


class _Waiting:
    """A session that does nothing but wait to be terminated."""

    def __init__(self) -> None:
        self.session_id: Future[str] = Future()
        self.begin_s = 0.0

    def run(self, sdk: Procurator) -> tuple[float, float]:
        """Return the seconds from ``begin_s`` until the runtime is told, and until it is raised."""
        told: list[float] = []
        with _terminated(), sdk.session(agent="busy", on_signal=lambda _: told.append(time.perf_counter())) as session:
            self.session_id.set_result(session.session_id)
            session.cancelled.wait(2 * _ANSWER_S)
            session.check()
        return told[0] - self.begin_s, time.perf_counter() - self.begin_s


@contextmanager
def _terminated() -> Iterator[None]:
    """Expect the session in this block to be terminated. Raises Unavailable when it was not."""
    try:
        yield
    except SessionTerminated:
        return
    raise Unavailable(f"a session was not terminated within {_ANSWER_S:.0f} s")


def _probe(one: Callable[[int], tuple[float, float]]) -> dict[str, dict[str, float]]:
    """Run the probes at a steady pace; return p50, p95 and p99 in ms of ``told`` and ``raised``."""
    with ThreadPoolExecutor(_PROBES) as threads:
        futures = []
        for number in range(_PROBES):
            futures.append(threads.submit(one, number))
            time.sleep(_PROBE_EVERY_S)
        return _shown([future.result() for future in futures])


def _shown(latencies: list[tuple[float, float]]) -> dict[str, dict[str, float]]:
    told, raised = zip(*latencies, strict=True)
    return {"told": _percentiles(told), "raised": _percentiles(raised)}


def _percentiles(seconds: tuple[float, ...]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {f"p{p}": round(1000 * ordered[min(len(ordered) * p // 100, len(ordered) - 1)], 1) for p in (50, 95, 99)}


def _define(api: httpx.Client, scope: str, scope_id: str, limit: str) -> None:
    budget = {
        "org_id": _ORG_ID,
        "name": scope_id,
        "scope": scope,
        "scope_id": scope_id,
        "unit": "TOKENS",
        "limit": limit,
        "period": "DAY",
        "thresholds": [{"fraction": "1", "action": "TERMINATE"}],
    }
    api.post("/v1/budgets", json=budget).raise_for_status()


def _say(text: str) -> None:
    print(text, file=sys.stderr)
