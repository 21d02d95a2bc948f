"""``procurator setup``: topics, schemas, tables, roles, prices and signing key; the same again changes nothing."""

import time
from collections.abc import Callable, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from procurator.cli import console
from procurator.errors import Unavailable

if TYPE_CHECKING:
    from procurator.clickhouse import ClickHouse
    from procurator.config import Settings
    from procurator.registry import Registry

T = TypeVar("T")
_RETRY_S = 0.5
_SAY_EVERY_S = 5.0


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def setup(
        wait_s: Annotated[float, typer.Option("--wait", min=0, help="seconds to wait for what is just starting")] = 60,
        prices: Annotated[
            Path | None, typer.Option("--prices", help="your own prices (TOML, see docs/pricing.md)")
        ] = None,
        key: Annotated[
            bool, typer.Option("--key/--no-key", help="have a signing key here, or leave it to a signer elsewhere")
        ] = True,
        print_sql: Annotated[
            bool, typer.Option("--print-sql", help="only print the statements for ClickHouse, do nothing")
        ] = False,
    ) -> None:
        """Create or check topics, schemas, tables, roles, prices and the signing key; repeating it changes nothing."""
        from procurator.clickhouse import ClickHouse
        from procurator.config import settings
        from procurator.registry import Registry

        chosen = settings()
        if print_sql:
            _print_sql(chosen)
            return
        clickhouse, registry = ClickHouse.of(chosen), Registry(chosen.schema_registry_url)
        until_s = time.monotonic() + wait_s
        try:
            for area, work in (
                ("topics", lambda: _topics(chosen)),
                ("schemas", lambda: _schemas(registry)),
                ("tables", lambda: _tables(clickhouse)),
                ("prices", lambda: _prices(chosen, registry, prices)),
                # Where the signer is elsewhere, a key from here would be printed, pinned by somebody and never used.
                ("signing key", lambda: signing_key(chosen) if key else "left to the signer"),
            ):
                print(f"{area}: {_patiently(work, until_s)}", flush=True)
        finally:
            clickhouse.close()
            registry.close()


def _print_sql(settings: "Settings") -> None:
    from procurator.sink.migrate import script

    for statement in script(settings.clickhouse_database, settings.clickhouse_cluster):
        print(f"{statement};\n")


def _patiently(work: Callable[[], T], until_s: float) -> T:
    """Repeat ``work`` while a neighbour is away, until it is time to give up and raise its Unavailable."""
    say_at_s = 0.0
    while True:
        try:
            return work()
        except Unavailable as away:
            now_s = time.monotonic()
            if now_s + _RETRY_S >= until_s:
                raise
            if now_s >= say_at_s:
                console.print(f"waiting: {away}", markup=False, highlight=False, soft_wrap=True)
                say_at_s = now_s + _SAY_EVERY_S
            time.sleep(_RETRY_S)


def _topics(settings: "Settings") -> str:
    from procurator.kafka import Topics
    from procurator.topics import TOPICS

    topics = Topics(settings.kafka_bootstrap_servers)
    created = topics.ensure(TOPICS, settings.partitions, settings.replication_factor)
    return f"{len(TOPICS)} in Kafka at {settings.kafka_bootstrap_servers}, {_count(created)} created"


def _schemas(registry: "Registry") -> str:
    from procurator.avro_schemas.codec import load_schema
    from procurator.topics import TOPICS

    stems = sorted({topic.schema for topic in TOPICS})
    for stem in stems:
        registry.register(load_schema(stem))
    return f"{len(stems)} registered, each readable by all later versions (BACKWARD_TRANSITIVE)"


def _tables(clickhouse: "ClickHouse") -> str:
    from procurator.sink.migrate import migrate

    done = migrate(clickhouse)
    text = f"database {clickhouse.database}, {_count(done.applied)} of {done.shipped} migrations applied now"
    if any(migration.needs_access_control for migration in done.passed_over):
        text += "; roles are left to the server's administrator (this user may not create any)"
    return text


def _prices(settings: "Settings", registry: "Registry", own: Path | None) -> str:
    from procurator.clock import now_us
    from procurator.price_changes import price_changes
    from procurator.price_feed import PriceFeed
    from procurator.price_overrides import load
    from procurator.price_source import list_prices
    from procurator.price_writer import publish_prices

    operator = None if own is None else load(own)
    with PriceFeed(settings.kafka_bootstrap_servers, registry) as feed:
        book = feed.book
    changes = price_changes(book, list_prices(), operator, now_us())
    publish_prices(settings.kafka_bootstrap_servers, registry, changes)
    if not changes:
        return f"{len(book.records)} models, none changed"
    when = "not before 60 s from now" if book.records else "at once, as the first prices"
    return f"{len(changes)} models published, in force {when}"


def signing_key(settings: "Settings") -> str:
    """Have a signing key, and say which; where the signer's folder cannot be written, it is left to the signer."""
    from procurator.key_files import ensure_signer

    try:
        return f"{ensure_signer(settings.signing_key).verifier} (its private key: {settings.signing_key}, mode 0600)"
    except OSError as error:
        return f"left to the signer: {settings.signing_key} cannot be written here ({error.strerror})"


def _count(items: Sized) -> str:
    return str(len(items)) if items else "none"
