"""Kill -9 under load, seeded: what Kafka acknowledged is in the ledger once, and every aggregate equals the recount.

Each run loads the whole embedded stack from several threads while a seeded plan kills the sink, the stream worker
and Kafka itself, at moments that fall anywhere in their loops; the supervisor starts them again. Nothing is mocked:
the producers are the SDK, the counts come from Kafka, ClickHouse and `procurator.reconcile`. ``-m soak`` runs two
hundred seeds; a run takes some 20 s, most of it Kafka's way back.
"""

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from procurator.arrival import Arrival, arrival, trees
from procurator.clickhouse import ClickHouse
from procurator.deploy.embedded.layout import Ports
from procurator.deploy.embedded.stack import Stack, StackConfig
from procurator.errors import UserError
from procurator.producers import Procurator
from procurator.reconcile import Policy, reconcile

THREADS = 3
LOAD_S = 2.5
SETTLE_S = 90.0
VICTIMS = ("sink", "stream", "kafka")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of our own: the other tests would not survive the treatment."""
    with Stack(StackConfig(tmp_path_factory.mktemp("faults"), Ports.free(), say=print)) as stack:
        yield stack


@pytest.fixture(scope="module")
def clickhouse(stack: Stack) -> Iterator[ClickHouse]:
    client = ClickHouse(stack.clickhouse_url, "admin", stack.admin_key, "procurator")
    yield client
    client.close()


@dataclass
class Load:
    """Threads that record sessions through one SDK until told to stop; ``events`` of each session, acknowledged."""

    stack: Stack
    seed: int
    events: dict[str, int] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> "Load":
        """Record for ``LOAD_S``; leaving the SDK's block raises DeliveryFailed if Kafka did not confirm all."""
        with Procurator(
            org_id="acme",
            owner_team_id="payments",
            kafka_bootstrap_servers=self.stack.kafka,
            schema_registry_url=self.stack.registry_url,
            on_full="block",
            queue_wait_s=60.0,
            flush_s=120.0,
        ) as sdk:
            threads = [
                threading.Thread(target=self._record, args=(sdk, random.Random(f"{self.seed}/{n}")))
                for n in range(THREADS)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        return self

    def _record(self, sdk: Procurator, rng: random.Random) -> None:
        while not self.stop.wait(rng.uniform(0.0005, 0.005)):
            with sdk.session(agent=f"agent-{rng.randrange(5)}", user="ada") as session:
                for _ in range(rng.randrange(1, 5)):
                    session.turn("USER", f"question {rng.random()}" * rng.randrange(1, 40))
                    with session.model_call("openai", "gpt-4o") as model:
                        model.complete(input_tokens=rng.randrange(5000), output_tokens=rng.randrange(500))
                    with session.tool_call("lookup", {"n": rng.randrange(99)}) as tool:
                        tool.complete({"ok": True})
                    session.turn("ASSISTANT", "answer")
            self.events[session.session_id] = session.events


def inject(stack: Stack, plan: list[tuple[float, str]]) -> None:
    """Kill -9 each victim at its second from now, and wait until all of them are ready again."""
    begin = time.monotonic()
    for at_s, victim in plan:
        threading.Event().wait(max(0.0, begin + at_s - time.monotonic()))
        starts = stack.starts(victim)
        stack.await_ready(victim, starts)
        with suppress(UserError):  # it may just have ended by itself, since Kafka was killed
            stack.kill(victim, signal.SIGKILL)
        stack.await_ready(victim, starts + 1)


def await_that(condition: Callable[[], bool], what: str | Callable[[], str]) -> None:
    deadline = time.monotonic() + SETTLE_S
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {SETTLE_S} s: {what if isinstance(what, str) else what()}")
        threading.Event().wait(0.1)


def assert_sound(clickhouse: ClickHouse, load: Load) -> None:
    expected = sum(load.events.values())

    # Each once in the topic, too: what a living emitter was not told about it leaves to Kafka's idempotence.
    complete = Arrival(expected, expected, expected, expected, len(load.events))

    def arrived() -> Arrival:
        return arrival(clickhouse.rows, load.events)

    await_that(lambda: arrived().entries >= expected, "every acknowledged event an entry")
    await_that(lambda: arrived() == complete, lambda: f"each once in ledger and state: {complete}, not {arrived()}")
    reports = list(reconcile(clickhouse.rows, Policy(lag_s=0)))
    assert [difference for report in reports for difference in report.differences] == []
    assert [tree.fault for tree in trees(clickhouse.rows) if tree.fault] == []


def run_seed(stack: Stack, clickhouse: ClickHouse, seed: int) -> None:
    rng = random.Random(seed)
    plan = sorted((rng.uniform(0.2, LOAD_S), rng.choice(VICTIMS)) for _ in range(rng.randrange(1, 4)))
    load = Load(stack, seed)
    threading.Timer(LOAD_S, load.stop.set).start()
    thread = threading.Thread(target=load.run)
    thread.start()
    inject(stack, plan)
    thread.join(timeout=150)
    assert not thread.is_alive(), "the SDK could not deliver"
    assert load.events, "a run without load shows nothing"
    assert_sound(clickhouse, load)


@pytest.mark.parametrize("seed", range(6))
def test_kill_dash_nine_under_load_loses_nothing_and_counts_nothing_twice(
    stack: Stack, clickhouse: ClickHouse, seed: int
) -> None:
    run_seed(stack, clickhouse, seed)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(6, 200))
def test_kill_dash_nine_campaign(stack: Stack, clickhouse: ClickHouse, seed: int) -> None:
    run_seed(stack, clickhouse, seed)


def test_the_stack_keeps_its_ledger_over_a_restart(tmp_path: Path) -> None:
    config = StackConfig(tmp_path, Ports.free(), say=print)
    with Stack(config) as first:
        load = Load(first, seed=1)
        threading.Timer(1.0, load.stop.set).start()
        load.run()
        client = ClickHouse(first.clickhouse_url, "admin", first.admin_key, "procurator")
        assert_sound(client, load)
        client.close()
    with Stack(config) as second:
        client = ClickHouse(second.clickhouse_url, "admin", second.admin_key, "procurator")
        assert_sound(client, load)
        client.close()
