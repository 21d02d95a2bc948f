"""``procurator demo``: the whole stack on this machine, with a simulated fleet at work on it."""

import time
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from procurator.cli import EXIT_NO, console
from procurator.cli.fetch import say
from procurator.cli.up import DataDir, PortOffset, ready_line, running_stack, say_login_link

if TYPE_CHECKING:
    from procurator.deploy.embedded.stack import Stack
    from procurator.producers import Procurator
    from procurator.producers.simulator.player import Played
    from procurator.reconcile import Select
    from procurator.runtime import Stop

#: Nothing more arrives for so long: longer than any start of a component that died on the way.
_STILL_S_MAX = 180.0
_LOOP_LIMIT_USD = "0.05"


def register(app: typer.Typer) -> None:
    app.command(name="demo", help="Run the whole stack with a simulated fleet of agents on it.")(demo)


def demo(
    sessions: Annotated[int, typer.Option(min=1, max=100_000, help="sessions of the past day to publish at once")] = 60,
    once: Annotated[
        bool, typer.Option("--once", help="check that all is in the ledger, print a summary, exit")
    ] = False,
    seed: Annotated[
        int | None, typer.Option(help="the same seed plays the same fleet; default: another each time")
    ] = None,
    data_dir: DataDir = None,
    port_offset: PortOffset = 0,
) -> None:
    """Start everything, publish sessions of the past day, then play the fleet live until Ctrl-C."""
    from procurator.clickhouse import ClickHouse
    from procurator.producers import Procurator
    from procurator.producers.simulator import simulate

    seed = time.time_ns() % 2**32 if seed is None else seed
    with running_stack(data_dir, port_offset) as (stack, stop):
        print(ready_line(stack), flush=True)
        if not once:
            say_login_link(stack)
        clickhouse = ClickHouse(stack.clickhouse_url, "admin", stack.admin_key, "procurator")
        with Procurator(kafka_bootstrap_servers=stack.kafka, schema_registry_url=stack.registry_url) as sdk:
            say(f"publishing {sessions} sessions of the past day (seed {seed})")
            played = simulate(sdk, sessions, seed)
            sound = _await_arrival(clickhouse.rows, played, stop) and _check(clickhouse.rows)
            if once and sound:
                sound = _show_tampering(stack, played, stop)
            _summary(played)
            if not once and sound:
                _play_live(sdk, stack, stop, seed)
        clickhouse.close()
    raise typer.Exit(stop.exit_code if stop.is_set() or sound else EXIT_NO)


def _await_arrival(select: "Select", played: "list[Played]", stop: "Stop") -> bool:
    """Wait until the ledger and the session states hold each published event once; say what is missing."""
    from procurator.arrival import arrival

    expected = sum(session.events for session in played)
    most, since_s = 0, time.monotonic()
    columns = (TextColumn("into the ledger"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", total=expected)
        while True:
            arrived = arrival(select, (session.session_id for session in played))
            progress.update(bar, completed=min(arrived.counted, arrived.folded))
            if arrived.counted + arrived.folded > most:
                most, since_s = arrived.counted + arrived.folded, time.monotonic()
            if arrived.has_all(expected, len(played)):
                return True
            if time.monotonic() - since_s > _STILL_S_MAX or stop.wait(0.2):
                say(f"published {expected} events of {len(played)} sessions, but arrived {arrived}")
                return False


def _check(select: "Select") -> bool:
    """Reconcile every session, compute every tree again, and say what came of it."""
    from procurator.arrival import trees
    from procurator.reconcile import Policy, reconcile

    reports = list(reconcile(select, Policy()))
    differences = [difference for report in reports for difference in report.differences]
    logs = list(trees(select))
    faults = [f"{log.log_id}: {log.fault}" for log in logs if log.fault]
    for fault in [*map(str, differences), *faults]:
        say(fault)
    sessions, leaves = sum(report.sessions for report in reports), sum(log.size for log in logs)
    say(f"checked: {sessions} sessions against their recount, {len(differences)} differences;")
    say(f"         {leaves} leaves in {len(logs)} trees, {len(faults)} at fault")
    return not differences and not faults


def _show_tampering(stack: "Stack", played: "list[Played]", stop: "Stop") -> bool:
    """Verify the signed ledger, edit one word in a copy of it, and show the verifier find it."""
    from procurator.config import Settings
    from procurator.verify.installation import show_tampering

    values = {name.removeprefix("PROCURATOR_").lower(): value for name, value in stack.env("admin").items()}
    return show_tampering(Settings.model_validate(values), sum(session.events for session in played), stop.wait, say)


def _summary(played: "list[Played]") -> None:
    """Print what was published, by status, on standard output."""
    table = Table("status", title="In the ledger", title_justify="left")
    figures = ("sessions", "events", "turns", "model calls", "tool calls", "tokens")
    for figure in figures:
        table.add_column(figure, justify="right")
    sums: dict[str, Counter[str]] = {}
    for session in played:
        for row in (session.status, "all"):
            sums.setdefault(row, Counter()).update(
                {
                    "sessions": 1,
                    "events": session.events,
                    "turns": session.turns,
                    "model calls": session.model_calls,
                    "tool calls": session.tool_calls,
                    "tokens": session.tokens,
                }
            )
    for status in sorted(sums, key=lambda name: (name == "all", name)):
        table.add_row(status, *(f"{sums[status][figure]:,}" for figure in figures))
    Console().print(table)


def _play_live(sdk: "Procurator", stack: "Stack", stop: "Stop", seed: int) -> None:
    """Play the fleet in real time until the stop is asked for; one of its agents loops, and its budget stops it."""
    import threading

    from procurator.producers.simulator import LOOPER, simulate_live

    _limit_the_loop(stack, LOOPER.org_id, LOOPER.agent_id)
    over = threading.Event()
    player = threading.Thread(
        target=simulate_live, args=(sdk, over), kwargs={"seed": seed + 1, "looping": True}, name="fleet"
    )
    player.start()
    say(f"the fleet is at work; watch it at {stack.api_url}/sessions, stop with Ctrl-C")
    say(f"the agent {LOOPER.agent_id} loops; each time it has spent {_LOOP_LIMIT_USD} USD, its budget stops it")
    stop.wait()
    say("stopping the fleet, then the stack")
    over.set()
    player.join()


def _limit_the_loop(stack: "Stack", org_id: str, agent_id: str) -> None:
    """Give each session of the looping agent its budget, unless an earlier demo on this data directory has."""
    import httpx

    name = "One run of the looping agent"
    headers = {"Authorization": f"Bearer {stack.admin_key}"}
    with httpx.Client(base_url=stack.api_url, headers=headers, timeout=30, trust_env=False) as api:
        defined = api.get("/v1/budgets").raise_for_status().json()["items"]
        if any(budget["name"] == name for budget in defined):
            return
        api.post(
            "/v1/budgets",
            json={
                "org_id": org_id,
                "name": name,
                "scope": "SESSION",
                "scope_id": agent_id,
                "unit": "USD",
                "limit": _LOOP_LIMIT_USD,
                "period": "LIFETIME",
                "thresholds": [{"fraction": "0.5", "action": "NOTIFY"}, {"fraction": "1", "action": "TERMINATE"}],
            },
        ).raise_for_status()
