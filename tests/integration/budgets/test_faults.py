"""Workers die under load while budgets are crossed: the spend is the recount, who crossed is told once, nobody else is.

Two workers share the partitions; either, or Kafka itself, is killed at random. Events come repeated and by skewed
clocks, a limit is changed in the middle. ``-m soak`` runs fifty seeds.
"""

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from procurator.budgets.spend import total_of
from procurator.clock import now_us
from procurator.deploy.embedded.stack import Stack
from procurator.errors import UserError
from procurator.events import TOKEN_BUCKETS
from procurator.price_source import list_prices
from procurator.pricing import PriceBook, usage_of

EVENTS = 12_000
PER_S = 3_000
KILLS = 3
AGENTS = 8
VICTIMS = ("stream", "second worker", "kafka")
SKEWS_US = (0, 0, 0, -3_600_000_000, 3_600_000_000)


@contextmanager
def second_worker(stack: Stack, folder: Path) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """A worker beside the stack's own; the list holds the one that runs."""
    workers = [start_worker(stack, folder)]
    try:
        yield workers
    finally:
        workers[0].kill()
        workers[0].wait()


def start_worker(stack: Stack, folder: Path) -> "subprocess.Popen[bytes]":
    env = stack.env("stream") | {"PROCURATOR_DATA_DIR": str(folder)}
    with (folder / "log").open("ab") as log:
        return subprocess.Popen([sys.executable, "-m", "procurator", "stream"], env=env, cwd=folder, stderr=log)


@pytest.mark.parametrize("seed", range(2))
def test_deaths_under_load_change_neither_spend_nor_signals(
    seed: int, stack: Stack, fleet: Any, listener: Any, tmp_path: Path
) -> None:
    run(seed, stack, fleet, listener, tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 50))
def test_deaths_under_load_for_longer(seed: int, stack: Stack, fleet: Any, listener: Any, tmp_path: Path) -> None:
    run(seed, stack, fleet, listener, tmp_path)


def run(seed: int, stack: Stack, fleet: Any, listener: Any, folder: Path) -> None:
    rng = random.Random(seed)
    agents = [f"seed{seed}-{time.time_ns()}-{n}" for n in range(AGENTS)]
    limits = {name: 200_000 if number % 2 else 10**9 for number, name in enumerate(agents)}
    budgets = {name: fleet.budget(name, limit, ("0.9", "NOTIFY"), ("1", "TERMINATE")) for name, limit in limits.items()}
    lowered = agents[0]
    dollars = fleet.budget(agents[1], 10**6, ("1", "NOTIFY"), unit="USD")
    sessions = {fleet.start(name): name for name in agents for _ in range(10)}
    with second_worker(stack, folder) as workers:
        began_s = time.monotonic()
        kills = sorted(rng.sample(range(EVENTS // 10, EVENTS), KILLS))
        for number in range(EVENTS):
            session_id = rng.choice(list(sessions))
            at_us = now_us() + rng.choice(SKEWS_US)
            event = fleet.call(session_id, sessions[session_id], rng.randrange(1, 500), occurred_at=at_us)
            if rng.random() < 0.05:  # a replayed spool says it again, some say it late
                fleet.say(session_id, *event["payload"], event["agent_id"], sequence=event["sequence"])
            if number == EVENTS // 2:
                limits[lowered] = 1000
                fleet.define(replace(budgets[lowered], limit=Decimal(1000), version=2))
            if kills and number == kills[0]:
                kills.pop(0)
                kill(rng.choice(VICTIMS), stack, workers, folder)
            while time.monotonic() - began_s < number / PER_S:
                time.sleep(0.001)
        fleet.flush()
        spent, usd = recount(fleet, set(agents))
        for name in agents:
            fleet.wait(lambda name=name: tokens(listener, budgets[name]) == spent[name], f"{name} is recounted", 90.0)
        attousd = int(usd[agents[1]].scaleb(18))
        fleet.wait(lambda: total_of(listener.counters(dollars.budget_id).values()).attousd == attousd, "so are dollars")
        crossed = {name for name in agents if spent[name] >= limits[name]}
        assert lowered in crossed
        assert crossed < set(agents)
        for session_id, name in sessions.items():
            if name in crossed:
                fleet.wait(lambda each=session_id: listener.signals(each), "who crossed is told")
            ids = {signal["signal_id"] for signal in listener.signals(session_id)}
            assert len(ids) == (name in crossed), (name, spent[name], limits[name])


def kill(victim: str, stack: Stack, workers: list["subprocess.Popen[bytes]"], folder: Path) -> None:
    """Kill -9; the stack starts its own parts again, the second worker is started here."""
    if victim == "second worker":
        workers[0].kill()
        workers[0].wait()
        workers[0] = start_worker(stack, folder)
    else:
        with suppress(UserError):  # it may be dead already, from the kill before
            stack.kill(victim, signal.SIGKILL)


def tokens(listener: Any, budget: Any) -> int:
    return total_of(listener.counters(budget.budget_id).values()).tokens


def recount(fleet: Any, agents: set[str]) -> tuple[Counter[str], dict[str, Decimal]]:
    """Return tokens and USD by agent, over the events that were sent, the repeated ones once."""
    prices = PriceBook.of(list_prices())
    spent: Counter[str] = Counter()
    usd = {name: Decimal(0) for name in agents}
    seen = set()
    for event in fleet.sent:
        kind, call = event["payload"]
        identity = event["session_id"], event["sequence"]
        if identity in seen or "latency_ms" not in call or event["agent_id"] not in agents:
            continue
        seen.add(identity)
        full = {bucket: call.get(bucket, 0) for bucket in TOKEN_BUCKETS}
        spent[event["agent_id"]] += sum(full.values())
        cost = prices.cost(usage_of(full), call["provider"], call["model"], event["occurred_at"])
        assert cost is not None, kind
        usd[event["agent_id"]] += cost.cost_usd
    return spent, usd
