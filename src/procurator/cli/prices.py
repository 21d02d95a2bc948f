"""``procurator prices``: corrections of what was charged in the past."""

import json
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from procurator.errors import UserError
from procurator.price_arithmetic import EXACT

if TYPE_CHECKING:
    from procurator.events import SessionEvent
    from procurator.price_corrections import Correction


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Prices of model calls.")
    group.callback()(_prices)
    group.command(name="correct")(correct)
    app.add_typer(group, name="prices", no_args_is_help=True)


def _prices() -> None:
    """Prices of model calls."""


@dataclass
class Tally:
    """What is corrected of one model; corrections come session by session."""

    calls: int = 0
    sessions: int = 0
    difference_usd: Decimal = Decimal(0)
    _last_session: str = ""

    def add(self, session_id: str, difference_usd: Decimal) -> None:
        self.calls += 1
        self.sessions += session_id != self._last_session
        self._last_session = session_id
        self.difference_usd = EXACT.add(self.difference_usd, difference_usd)


def correct(
    file: Annotated[Path, typer.Argument(help="the right prices (TOML, see docs/pricing.md), each with active_from")],
    apply: Annotated[
        bool, typer.Option("--apply", help="append the corrections; without it they are only shown")
    ] = False,
    reason: Annotated[str | None, typer.Option(help="why, for people; it stands in each correction")] = None,
    by: Annotated[str, typer.Option(help="who corrects; it stands in each correction")] = "operator",
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Append what past calls cost more or less than they were charged. What was charged stays in the ledger.

    Repeating it changes nothing, once the ledger has the corrections.
    """
    import hashlib
    import os

    from procurator.clickhouse import ClickHouse
    from procurator.clock import now_us
    from procurator.config import settings
    from procurator.kafka import Topics
    from procurator.price_correction_run import announce, append, charged_calls
    from procurator.price_corrections import Author, Revision, corrections
    from procurator.price_feed import PriceFeed
    from procurator.price_overrides import load
    from procurator.registry import Registry
    from procurator.topics import SESSION_EVENTS

    chosen, records, at_us = settings(), load(file), now_us()
    with closing(Registry(chosen.schema_registry_url)) as registry, closing(ClickHouse.of(chosen)) as clickhouse:
        with PriceFeed(chosen.kafka_bootstrap_servers, registry) as feed:
            revision = Revision.of(feed.book, records, at_us)
        described = Topics(chosen.kafka_bootstrap_servers).describe([SESSION_EVENTS.name])
        if SESSION_EVENTS.name not in described:
            raise UserError(f"Kafka at {chosen.kafka_bootstrap_servers} has no topic {SESSION_EVENTS.name}")
        tallies: dict[tuple[str, str], Tally] = {}

        def tallied(found: "Iterable[Correction]") -> "Iterator[SessionEvent]":
            for each in found:
                tally = tallies.setdefault((each.call.provider, each.call.model), Tally())
                tally.add(each.call.session_id, each.difference_usd)
                yield each.event

        calls = charged_calls(clickhouse, described[SESSION_EVENTS.name][0], revision)
        found = tallied(corrections(calls, revision, Author(by, reason, at_us, lambda: os.urandom(16))))
        if apply:
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            details = {"file": file.name, "sha256": digest, "reason": reason or ""}
            announce(chosen.kafka_bootstrap_servers, registry, records, by, details)
            append(chosen.kafka_bootstrap_servers, registry, found)
        else:
            deque(found, maxlen=0)
    items = [
        {
            "provider": provider,
            "model": model,
            "calls": tally.calls,
            "sessions": tally.sessions,
            "difference_usd": f"{tally.difference_usd:f}",
        }
        for (provider, model), tally in sorted(tallies.items())
    ]
    if as_json:
        print(json.dumps({"applied": apply, "items": items}))
    else:
        _print(items, apply)


def _print(items: list[dict[str, object]], applied: bool) -> None:
    if not items:
        print("nothing to correct: every call was charged so")
        return
    table = Table("provider", "model", "calls", "sessions", "difference in USD")
    for item in items:
        table.add_row(*(escape(str(value)) for value in item.values()))
    Console().print(table)
    print("appended" if applied else "nothing was appended: --apply does")
