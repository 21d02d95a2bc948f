"""``procurator bench NAME``: measure on this machine, beside a peer where there is one.

A benchmark is a module of `procurator.bench` with ``run(**options) -> dict``; its answer is the fixed shape of the
design: ``events_per_s`` or ``latency_ms: {p50, p95, p99}``, and where there is a peer ``peer`` and ``ratio``.
"""

import importlib
import inspect
import json
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.table import Table

from procurator.cli import console
from procurator.errors import UserError


class Benchmark(StrEnum):
    PRODUCER = "producer"
    STREAM = "stream"
    SINK = "sink"
    E2E = "e2e"
    VERIFY = "verify"
    LIVE = "live"
    QUERY = "query"
    UI = "ui"
    EXPORT = "export"
    FINOPS = "finops"
    RECOVERY = "recovery"
    PROOF = "proof"
    WEBHOOKS = "webhooks"


def register(app: typer.Typer) -> None:
    app.command(name="bench", help="Measure on this machine, beside a peer where there is one.")(bench)


def bench(
    name: Annotated[Benchmark, typer.Argument(help="what to measure")],
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
    events: Annotated[int | None, typer.Option(min=1000, help="events to push through")] = None,
    rate: Annotated[float | None, typer.Option(min=1, help="events per second to offer (e2e, live)")] = None,
    sessions: Annotated[
        int | None, typer.Option(min=1, help="sessions running at once (e2e, live), or to recover (recovery)")
    ] = None,
    processes: Annotated[int | None, typer.Option(min=1, max=64, help="producing processes (e2e)")] = None,
) -> None:
    """Run one benchmark and print its figures, the machine, the versions and the peer's figure."""
    from procurator.bench.machine import machine, versions

    run = importlib.import_module(f"procurator.bench.{name}").run
    given = {"events": events, "rate": rate, "sessions": sessions, "processes": processes}
    options = {option: value for option, value in given.items() if value is not None}
    for option in options.keys() - inspect.signature(run).parameters.keys():
        raise UserError(f"bench {name} takes no --{option}")
    answer = {"bench": str(name), **run(**options), "machine": machine(), "versions": versions()}
    if as_json:
        print(json.dumps(answer))
    else:
        _show(answer)


def _show(answer: dict[str, Any]) -> None:
    table = Table("figure", "value", title=f"procurator bench {answer['bench']}", title_justify="left")
    for figure, value in _flat(answer):
        table.add_row(figure, f"{value:,.2f}" if isinstance(value, float) else str(value))
    console.print(table)


def _flat(answer: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for figure, value in answer.items():
        name = f"{prefix}{figure}"
        rows += _flat(value, f"{name}.") if isinstance(value, dict) else [(name, value)]
    return rows
