"""IO: verifying the installation that the settings name: its tables, checkpoints, keys and prices."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

from procurator.clickhouse import ClickHouse
from procurator.config import Settings
from procurator.price_feed import PriceFeed
from procurator.pricing import PriceBook
from procurator.registry import Registry
from procurator.sink.rederive import TABLES, Rederivation
from procurator.topics import LEDGER_CONTROL
from procurator.verify.catching_up import await_tables
from procurator.verify.given import read_notes, trusted_keys
from procurator.verify.ledger import LedgerCheck, verify_ledger
from procurator.verify.report import Verdict
from procurator.verify.showing import edited_copy
from procurator.verify.source import LedgerSource
from procurator.verify.trust import claimed

#: What cannot be derived without the prices.
_OF_PRICES = frozenset({"cost_usd", "price_version", "cache_saved_usd"})


def _quietly(_step: str, _done: int, _total: int) -> None:
    pass


@contextmanager
def ledger_check(
    settings: Settings,
    key: list[str] | None = None,
    checkpoints: list[Path] | None = None,
    no_prices: bool = False,
    progress: Callable[[str, int, int], None] = _quietly,
    wait: Callable[[float], bool] | None = None,
) -> Iterator[LedgerCheck]:
    """Yield what a ledger is verified with, once a sink that is a little behind the signer has come up."""
    notes = read_notes(checkpoints or [settings.checkpoints])
    clickhouse = ClickHouse.of(settings)
    source = LedgerSource(clickhouse)
    tables = {topic: table for topic, table in TABLES.items() if topic != LEDGER_CONTROL.name}
    try:
        await_tables(source, notes, tables.values(), wait or Event().wait)
        prices = PriceBook() if no_prices else _prices(settings)
        yield LedgerCheck(
            source=source,
            origin=claimed(notes[0]).origin,
            notes=notes,
            keys=trusted_keys(key, settings),
            tables=tables,
            derive=lambda schema, topics, ask: partial(
                _without_costs if no_prices else _all, Rederivation(schema, topics, prices, ask)
            ),
            progress=progress,
        )
    finally:
        clickhouse.close()


def _all(derive: Any, *columns: Any) -> Any:
    return derive(*columns)


def _without_costs(derive: Any, *columns: Any) -> Any:
    return {name: values for name, values in derive(*columns).items() if name not in _OF_PRICES}


def _prices(settings: Settings) -> PriceBook:
    registry = Registry(settings.schema_registry_url)
    try:
        with PriceFeed(settings.kafka_bootstrap_servers, registry) as feed:
            return feed.book
    finally:
        registry.close()


def show_tampering(settings: Settings, events: int, wait: Callable[[float], bool], say: Callable[[str], None]) -> bool:
    """Verify the ledger once ``events`` are signed, then a copy with one word edited; say both, return if both fit.

    ``wait`` sleeps and returns True on a stop.
    """
    password = settings.clickhouse_password.get_secret_value()

    def client(database: str) -> ClickHouse:
        return ClickHouse(settings.clickhouse_url, settings.clickhouse_user, password, database)

    for _ in range(60):
        if settings.checkpoints.exists():
            with ledger_check(settings) as check:
                report = verify_ledger(check)
            if report.verdict is not Verdict.SOUND or report.counts["entries"] >= events:
                break
        if wait(1.0):
            return False
    say(f"verified: {report.counts['entries']} signed entries, {report.verdict.name.lower()}; {report.anchor}")
    with edited_copy(settings.clickhouse_database, client) as (copy, edit):
        with ledger_check(settings) as check:
            found = verify_ledger(replace(check, source=LedgerSource(copy)))
        say(f"in a copy, {edit.before!r} of event {edit.event_id} was edited to {edit.after!r}; the verifier finds:")
        for finding in found.findings:
            say(f"  {finding.verdict.name.lower()} {finding.what}: {finding.where}: {finding.message}")
    return report.verdict is Verdict.SOUND and found.verdict is Verdict.TAMPERED
