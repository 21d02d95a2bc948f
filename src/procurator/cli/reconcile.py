"""``procurator reconcile``: the aggregates against the ledger."""

import json
from contextlib import closing
from dataclasses import asdict, astuple
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from procurator.cli import EXIT_NO, console
from procurator.config import settings
from procurator.reconcile import Difference, Policy, ledger_entries
from procurator.reconcile import reconcile as compare

#: Differences that are kept to be shown; all are counted.
SHOWN_MAX = 1000


def register(app: typer.Typer) -> None:
    app.command(name="reconcile", help="Compare every session's state with a recount from the ledger.")(reconcile)


def reconcile(
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
    lag_s: Annotated[int, typer.Option(min=0, max=86_400, help="how late a part may be, in seconds")] = 60,
) -> None:
    """Compare every session's state with a recount from the ledger; exit 1 on any difference."""
    from procurator.clickhouse import ClickHouse

    sessions = entries = pending = found = 0
    shown: list[Difference] = []
    columns = (
        TextColumn("recounting"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("entries"),
        TimeRemainingColumn(),
    )
    with (
        closing(ClickHouse.of(settings())) as clickhouse,
        Progress(*columns, console=console, transient=True) as progress,
    ):
        bar = progress.add_task("", total=ledger_entries(clickhouse.rows))
        for part in compare(clickhouse.rows, Policy(lag_s=lag_s)):
            sessions, entries, pending = sessions + part.sessions, entries + part.entries, pending + part.pending
            found += len(part.differences)
            shown += part.differences[: SHOWN_MAX - len(shown)]
            progress.advance(bar, part.entries)
    summary = {"sessions": sessions, "entries": entries, "pending": pending, "differences": found}
    if as_json:
        print(json.dumps({**summary, "items": [asdict(difference) for difference in shown]}))
    else:
        _print(summary, shown)
    raise typer.Exit(EXIT_NO if found else 0)


def _print(summary: dict[str, int], shown: list[Difference]) -> None:
    if shown:
        table = Table("session", "field", "state", "ledger")
        for difference in shown:
            table.add_row(*(escape(text or "-") for text in astuple(difference)))
        Console().print(table)
    if summary["differences"] > len(shown):
        print(f"… and {summary['differences'] - len(shown)} more")
    print(
        f"{summary['sessions']} sessions, {summary['entries']} entries: {summary['differences']} differences,"
        f" {summary['pending']} pending"
    )
