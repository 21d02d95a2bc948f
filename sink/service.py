"""IO: everything `procurator sink` runs, wired from the settings."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from confluent_kafka import Consumer

from procurator import audit_events, events
from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.clickhouse import ClickHouse
from procurator.config import Settings
from procurator.kafka import Topics, consumer_config
from procurator.price_feed import PriceFeed
from procurator.registry import Registry
from procurator.runtime import Stop
from procurator.sink.blocks import AuditProjection, EventProjection
from procurator.sink.dead_letter import DeadLetters
from procurator.sink.inserter import Inserter
from procurator.sink.ledger import Log
from procurator.sink.repeats import Repeats
from procurator.sink.store import LedgerStore
from procurator.sink.worker import Source, Worker
from procurator.topics import AUDIT, SESSION_EVENTS

GROUP = "procurator-sink"
#: A killed member's partitions wait this long for another (Kafka's own minimum).
_SESSION_TIMEOUT_MS = 6_000


def serve(settings: Settings, stop: Stop, ready: Callable[[], None]) -> None:
    """Run until ``stop`` is set. Raises Fatal or UserError when going on would do harm or cannot help."""
    kafka = settings.kafka_bootstrap_servers
    with ExitStack() as closing:
        clickhouse = ClickHouse.of(settings)
        closing.callback(clickhouse.close)
        registry = Registry(settings.schema_registry_url)
        closing.callback(registry.close)
        prices = closing.enter_context(PriceFeed(kafka, registry))
        sources = {
            SESSION_EVENTS.name: _events(LedgerStore(clickhouse, "events"), registry, prices),
            AUDIT.name: _audit(LedgerStore(clickhouse, "audit"), registry),
        }
        stores = {source.store.table: source.store for source in sources.values()}
        topics = Topics(kafka)
        inserter = Inserter(stores, topics, DeadLetters(kafka, registry))
        consumer = Consumer(consumer_config(kafka, GROUP, **{"session.timeout.ms": _SESSION_TIMEOUT_MS}))
        Worker(consumer, topics, sources, inserter, stop).run(ready)


def _events(store: LedgerStore, registry: Registry, prices: PriceFeed) -> Source:
    parse = partial(events.parse, Decoder(load_schema(SESSION_EVENTS.schema), registry.fetch))

    def projection(log: Log) -> EventProjection:
        return EventProjection(log, parse, Repeats(partial(store.sequences, log.log_id)), lambda: prices.book)

    return Source(SESSION_EVENTS.name, store, projection)


def _audit(store: LedgerStore, registry: Registry) -> Source:
    parse = partial(audit_events.parse, Decoder(load_schema(AUDIT.schema), registry.fetch))
    return Source(AUDIT.name, store, lambda _log: AuditProjection(parse))
