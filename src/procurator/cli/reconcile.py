"""``procurator reconcile``: the aggregates and the budgets against the ledger."""

import json
from contextlib import closing
from dataclasses import asdict, astuple
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from procurator.cli import EXIT_NO, console
from procurator.clock import to_rfc3339
from procurator.config import settings
from procurator.reconcile import Difference, Policy, ledger_entries
from procurator.reconcile import reconcile as compare

if TYPE_CHECKING:
    from procurator.reconcile_budgets import BudgetDifference

#: Differences that are kept to be shown; all are counted.
SHOWN_MAX = 1000


def register(app: typer.Typer) -> None:
    app.command(
        name="reconcile", help="Compare every session's state, and every budget, with a recount from the ledger."
    )(reconcile)


def reconcile(
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
    lag_s: Annotated[int, typer.Option(min=0, max=86_400, help="how late a part may be, in seconds")] = 60,
) -> None:
    """Compare every session's state, and what every budget has counted, with a recount from the ledger.

    Exit 1 on any difference.
    """
    from procurator.budget_topics import BudgetTopics
    from procurator.clickhouse import ClickHouse
    from procurator.reconcile_budgets import reconcile_budgets
    from procurator.reconcile_purges import reconcile_purges
    from procurator.registry import Registry

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
        purged = reconcile_purges(clickhouse.rows)
        found, shown = found + len(purged.differences), [*purged.differences, *shown]
        with closing(Registry(settings().schema_registry_url)) as registry:
            topics = BudgetTopics.read(settings().kafka_bootstrap_servers, registry)
        budgets = reconcile_budgets(clickhouse.rows, topics.budgets, topics.counters, topics.statuses)
    summary = {
        "sessions": sessions,
        "entries": entries,
        "pending": pending,
        "differences": found,
        "purged_sessions": purged.sessions,
        "purged_entries": purged.entries,
        "budget_counters": budgets.counters,
        "budgets_pending": budgets.pending,
        "budget_differences": len(budgets.differences),
    }
    if as_json:
        items = [asdict(difference) for difference in shown]
        budget_items = [asdict(difference) for difference in budgets.differences[:SHOWN_MAX]]
        cost_usd = f"{purged.cost_usd:f}"
        print(json.dumps({**summary, "purged_cost_usd": cost_usd, "items": items, "budget_items": budget_items}))
    else:
        _print(summary, shown, budgets.differences)
    raise typer.Exit(EXIT_NO if found or budgets.differences else 0)


def _print(summary: dict[str, int], shown: list[Difference], budgets: "list[BudgetDifference]") -> None:
    if shown:
        table = Table("session", "field", "state", "ledger")
        for difference in shown:
            table.add_row(*(escape(text or "-") for text in astuple(difference)))
        Console().print(table)
    if budgets:
        table = Table("budget", "period from", "log", "field", "counted", "recount")
        for each in budgets[:SHOWN_MAX]:
            period = to_rfc3339(each.period_start_us)
            table.add_row(each.budget_id, period, each.log_id or "status", each.field, each.found, each.recount)
        Console().print(table)
    if summary["differences"] > len(shown):
        print(f"… and {summary['differences'] - len(shown)} more")
    print(
        f"{summary['sessions']} sessions, {summary['entries']} entries: {summary['differences']} differences,"
        f" {summary['pending']} pending; {summary['purged_sessions']} sessions with"
        f" {summary['purged_entries']} entries purged; {summary['budget_counters']} counters of budgets:"
        f" {summary['budget_differences']} differences, {summary['budgets_pending']} pending"
    )
