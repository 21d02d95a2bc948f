"""IO: everything `procurator sink` runs, wired from the settings."""

import gc
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from confluent_kafka import Consumer

from procurator import audit_events, events
from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.clickhouse import ClickHouse
from procurator.config import Settings
from procurator.errors import Unavailable
from procurator.kafka import Topics, consumer_config
from procurator.price_feed import PriceFeed
from procurator.registry import Registry
from procurator.runtime import Stop
from procurator.sink.blocks import AuditProjection, EventProjection
from procurator.sink.budgets import BudgetHistory
from procurator.sink.control import control_source
from procurator.sink.dead_letter import DeadLetters
from procurator.sink.inserter import Inserter
from procurator.sink.ledger import Log
from procurator.sink.repeats import Repeats
from procurator.sink.sessions import SessionTable
from procurator.sink.store import LedgerStore
from procurator.sink.worker import Source, Worker
from procurator.topics import AUDIT, LEDGER_CONTROL, SESSION_EVENTS

_log = logging.getLogger(__name__)

GROUP = "procurator-sink"
SESSIONS_GROUP = "procurator-sink-sessions"
BUDGETS_GROUP = "procurator-sink-budgets"
#: A killed member's partitions wait this long for another (Kafka's own minimum).
_SESSION_TIMEOUT_MS = 6_000
#: Kafka answers when there is much to take, or after this long: an answer for every few records would cost it, and us,
#: more than the records do. Batches wait longer than that anyway.
_FETCH = {"fetch.min.bytes": 1 << 20, "fetch.wait.max.ms": 100}
_RETRY_S = 1.0
_STOP_S = 3.0


def serve(settings: Settings, stop: Stop, ready: Callable[[], None]) -> None:
    """Run until ``stop`` is set. Raises Fatal or UserError when going on would do harm or cannot help."""
    # A block makes half a million objects and none in a cycle: looking for cycles took a third of the time.
    gc.freeze()
    gc.set_threshold(500_000, 20, 20)
    # Threads that send blocks need the interpreter for a moment between two writes to a socket. By default each waits
    # 5 ms for it while the next block is made.
    sys.setswitchinterval(0.001)
    kafka = settings.kafka_bootstrap_servers
    with ExitStack() as closing:
        clickhouse = ClickHouse.of(settings)
        closing.callback(clickhouse.close)
        registry = Registry(settings.schema_registry_url)
        closing.callback(registry.close)
        prices = _prices(kafka, registry, stop)
        if prices is None:
            return
        closing.push(prices)
        sources = {
            SESSION_EVENTS.name: _events(LedgerStore(clickhouse, "events"), registry, prices),
            AUDIT.name: _audit(LedgerStore(clickhouse, "audit"), registry),
            LEDGER_CONTROL.name: control_source(LedgerStore(clickhouse, "ledger_control"), registry),
        }
        stores = {source.store.table: source.store for source in sources.values()}
        topics = Topics(kafka)
        inserter = Inserter(stores, topics, DeadLetters(kafka, registry))
        table = SessionTable(_consumer(kafka, SESSIONS_GROUP), topics, registry, clickhouse, stop)
        sessions = closing.enter_context(_beside(table.run, stop))
        history = BudgetHistory(
            _consumer(kafka, BUDGETS_GROUP, **{"auto.offset.reset": "earliest"}), registry, clickhouse, stop
        )
        budgets = closing.enter_context(_beside(history.run, stop))
        Worker(_consumer(kafka, GROUP), topics, sources, inserter, stop).run(ready)
        for beside in (sessions, budgets):
            if beside.done():
                beside.result()


def _prices(kafka: str, registry: Registry, stop: Stop) -> PriceFeed | None:
    """Return the feed once all prices are read, however long Kafka and registry are away; None on a stop."""
    while not stop.is_set():
        try:
            return PriceFeed(kafka, registry).__enter__()
        except Unavailable as outage:
            _log.warning("%s; waiting", outage)
            stop.wait(_RETRY_S)
    return None


def _consumer(kafka: str, group: str, **overrides: Any) -> Consumer:
    return Consumer(consumer_config(kafka, group, **{"session.timeout.ms": _SESSION_TIMEOUT_MS, **_FETCH, **overrides}))


@contextmanager
def _beside(work: Callable[[], None], stop: Stop) -> Iterator["Future[None]"]:
    """Run ``work`` in a thread of its own, which ends with the stop; when it fails, everything stops."""
    future: Future[None] = Future()

    def run() -> None:
        try:
            work()
            future.set_result(None)
        except BaseException as error:  # noqa: BLE001 - raised by whoever asks for the result
            future.set_exception(error)
            stop.set()

    thread = threading.Thread(target=run, name="beside", daemon=True)
    thread.start()
    try:
        yield future
    finally:
        stop.set()
        thread.join(_STOP_S)


def _events(store: LedgerStore, registry: Registry, prices: PriceFeed) -> Source:
    parse = partial(events.parse, Decoder(load_schema(SESSION_EVENTS.schema), registry.fetch))

    def projection(log: Log) -> EventProjection:
        return EventProjection(log, parse, Repeats(partial(store.sequences, log.log_id)), lambda: prices.book)

    return Source(SESSION_EVENTS.name, store, projection)


def _audit(store: LedgerStore, registry: Registry) -> Source:
    parse = partial(audit_events.parse, Decoder(load_schema(AUDIT.schema), registry.fetch))
    return Source(AUDIT.name, store, lambda _log: AuditProjection(parse))
