"""A real ledger (the whole pipeline), and copies of it to attack: hard links in a database of their own."""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event

import pytest
from confluent_kafka import Producer

from procurator.checkpoint_file import read_checkpoints
from procurator.clickhouse import ClickHouse
from procurator.control_desk import ControlDesk
from procurator.deploy.embedded.components import ALL
from procurator.deploy.embedded.layout import Ports
from procurator.deploy.embedded.stack import Stack, StackConfig
from procurator.kafka import producer_config
from procurator.key_files import load_verifier
from procurator.price_feed import PriceFeed
from procurator.producers import Procurator
from procurator.producers.simulator import simulate
from procurator.registry import Registry
from procurator.sink.rederive import TABLES, Rederivation
from procurator.topics import LEDGER_CONTROL, SESSION_EVENTS
from procurator.verify.catching_up import await_tables
from procurator.verify.ledger import LedgerCheck, verify_ledger
from procurator.verify.report import Report
from procurator.verify.source import LedgerSource
from procurator.verify.trust import claimed

COMPONENTS = ALL - {"retention"}
LEDGER_TABLES = ("events", "audit", "ledger_control", "ledger_gaps")
SIGNED_S = 150.0


class Ledger:
    """The ledger of a stack: its tables as admin, its checkpoints, its public key."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        registry = Registry(stack.registry_url)
        with PriceFeed(stack.kafka, registry) as feed:
            self.prices = feed.book
        registry.close()
        self.data_dir = stack.layout.data_dir
        self.key = load_verifier(self.data_dir / "sign" / "key.pub")
        self._names = (f"attacked_{number}" for number in itertools.count())
        #: Of each copy: the checkpoints that were there when it was made.
        self._notes_of: dict[str, list[bytes]] = {}

    def clickhouse(self, database: str = "procurator") -> ClickHouse:
        return ClickHouse(self.stack.clickhouse_url, "admin", self.stack.admin_key, database)

    def desk(self, clickhouse: ClickHouse) -> ControlDesk:
        """What asks the signer for entries."""
        return ControlDesk(clickhouse, self.data_dir / "sign" / "requests", self.data_dir / "checkpoints", Event().wait)

    @property
    def notes(self) -> list[bytes]:
        return list(read_checkpoints(self.data_dir / "checkpoints"))

    def notes_of(self, clickhouse: ClickHouse) -> list[bytes]:
        """Return the checkpoints of a copy, or of the ledger itself: its signer goes on meanwhile."""
        return self._notes_of.get(clickhouse.database) or self.notes

    def await_signed(self, events: int, session_ids: Sequence[str] = ()) -> None:
        """Wait until so many events (of these sessions) are in the table, and all of that under a checkpoint."""
        clickhouse = self.clickhouse()
        until_s = time.monotonic() + SIGNED_S
        count = "SELECT count() FROM events" + (" WHERE session_id IN {ids:Array(String)}" if session_ids else "")
        while True:
            ((found,),) = clickhouse.rows(count, {"ids": list(session_ids)} if session_ids else None)
            if found >= events and not verify(clickhouse, self).counts["entries_unsigned"]:
                clickhouse.close()
                return
            assert time.monotonic() < until_s, f"{found} of {events} events, not all signed in {SIGNED_S} s"
            time.sleep(0.5)

    def await_tables(self, clickhouse: ClickHouse, notes: list[bytes]) -> None:
        """Wait for what is signed: the signer may be a moment ahead of the sink."""
        await_tables(LedgerSource(clickhouse), notes, ("events", "audit"), Event().wait)

    def verify(self, clickhouse: ClickHouse, notes: list[bytes] | None = None) -> Report:
        """Verify the tables that a client sees."""
        return verify(clickhouse, self, notes)

    @contextmanager
    def copy(self) -> "Iterator[ClickHouse]":
        """Yield a client of a copy of the ledger, which may be changed at will."""
        name, notes = next(self._names), self.notes
        with closing(self.clickhouse()) as live:
            self.await_tables(live, notes)
        self._notes_of[name] = notes
        clickhouse = self.clickhouse(name)
        clickhouse.execute(f"CREATE DATABASE {name}", database="")
        for table in LEDGER_TABLES:
            clickhouse.execute(f"CREATE TABLE {name}.{table} CLONE AS procurator.{table}")
        try:
            yield clickhouse
        finally:
            clickhouse.execute(f"DROP DATABASE {name} SYNC", database="")
            clickhouse.close()


def verify(clickhouse: ClickHouse, ledger: Ledger, notes: list[bytes] | None = None) -> Report:
    """Verify the tables that a client sees, as ``procurator verify ledger`` does."""
    notes = ledger.notes_of(clickhouse) if notes is None else notes
    if clickhouse.database == "procurator":
        ledger.await_tables(clickhouse, notes)
    check = LedgerCheck(
        source=LedgerSource(clickhouse),
        origin=claimed(notes[0]).origin,
        notes=notes,
        keys=[ledger.key],
        tables={topic: table for topic, table in TABLES.items() if topic != LEDGER_CONTROL.name},
        derive=lambda schema, topics, ask: Rederivation(schema, topics, ledger.prices, ask),
        progress=lambda *_: None,
    )
    return verify_ledger(check)


@pytest.fixture(scope="session")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """Sessions of a simulated fleet, and records that are none, all signed; sink and signer go on running."""
    folder: Path = tmp_path_factory.mktemp("ledger")
    with Stack(StackConfig(folder, Ports.free(), COMPONENTS, say=print)) as stack:
        made = Ledger(stack)
        with Procurator(
            kafka_bootstrap_servers=stack.kafka, schema_registry_url=stack.registry_url, agent="a", org_id="acme"
        ) as sdk:
            published = sum(played.events for played in simulate(sdk, 15, seed=5))
            sdk.flush()
            made.await_signed(published)
            published += sum(played.events for played in simulate(sdk, 15, seed=6))
        producer = Producer(producer_config(stack.kafka))
        for partition, value in enumerate((b"not avro", None, b"\x00\x00\x00\x00\x63unknown schema")):
            producer.produce(SESSION_EVENTS.name, value, b"key", partition)
        assert producer.flush(30) == 0
        made.await_signed(published + 3)
        yield made


@pytest.fixture
def verified(ledger: Ledger) -> Callable[..., Report]:
    """Verify the tables that a client sees."""
    return lambda clickhouse, notes=None: verify(clickhouse, ledger, notes)
