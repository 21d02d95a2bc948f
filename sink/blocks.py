"""Records of one log → a block that is ready to be inserted. Pure, but for the questions a projection may ask."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, Protocol

from procurator.audit_events import AuditEvent
from procurator.errors import Rejected
from procurator.events import SessionEvent
from procurator.leaf import leaf_hashes
from procurator.pricing import PriceBook
from procurator.sink import rows
from procurator.sink.ledger import Head, Log
from procurator.sink.records import Record, Records
from procurator.sink.repeats import Repeats
from procurator.sink.rows import Columns


class Projected(NamedTuple):
    """What a topic's records become beside their entries."""

    flags: Sequence[Sequence[str]]
    rejected: dict[int, Rejected]
    columns: Columns


class Projection(Protocol):
    """How records of one log become rows of ``table``. Raises Unavailable when a neighbour it asks is away."""

    table: str

    def project(self, records: Records) -> Projected: ...

    def landed(self, blocks: int) -> None:
        """Hear that the first ``blocks`` blocks projected stand in the ledger."""


@dataclass
class EventProjection:
    """Session events of one log → ``events``. ``prices`` gives the book as of now, never one out of date."""

    log: Log
    parse: Callable[[bytes | None], SessionEvent]
    repeats: Repeats
    prices: Callable[[], PriceBook]
    table: str = field(default="events", init=False)

    def project(self, records: Records) -> Projected:
        events, rejected = rows.parse_all(self.parse, records.values)
        prices = self.prices()
        observe = partial(self.repeats.observe, records.offsets[0])
        flags = rows.event_flags(events, self.log, observe)
        return Projected(flags, rejected, rows.event_columns(events, records.broker_times_us, prices))

    def landed(self, blocks: int) -> None:
        self.repeats.forget(blocks)


@dataclass
class AuditProjection:
    """Audit events of one log → ``audit``."""

    parse: Callable[[bytes | None], AuditEvent]
    table: str = field(default="audit", init=False)

    def project(self, records: Records) -> Projected:
        events, rejected = rows.parse_all(self.parse, records.values)
        return Projected(rows.audit_flags(events), rejected, rows.audit_columns(events))

    def landed(self, blocks: int) -> None:
        """Nothing is remembered between blocks."""


class RejectedRecord(NamedTuple):
    """A record that became an entry without an event, and why."""

    record: Record
    reason: str
    message: str


@dataclass(frozen=True)
class Block:
    """Entries of one log and one table partition, from the head they follow to the head they lead to."""

    log: Log
    table: str
    before: Head
    after: Head
    last_leaf_hash: bytes
    entries: int
    columns: Columns
    rejected: list[RejectedRecord]


def make_block(log: Log, before: Head, records: Records, projection: Projection) -> Block:
    """Return the block of ``records``, which follow ``before`` and are of one day of broker time."""
    projected = projection.project(records)
    hashes = leaf_hashes(
        log.log_id, before.size, records.offsets, records.broker_times_us, records.keys, records.values
    )
    entry = rows.entry_columns(log.log_id, before.size, records, hashes, projected.flags, projected.rejected)
    rejected = [
        RejectedRecord(_record(records, index), why.reason, rows.message_of(why))
        for index, why in projected.rejected.items()
    ]
    return Block(
        log=log,
        table=projection.table,
        before=before,
        after=before.extended(hashes, records.offsets[-1] + 1),
        last_leaf_hash=hashes[-1],
        entries=len(records),
        columns={**entry, **projected.columns},
        rejected=rejected,
    )


def _record(records: Records, index: int) -> Record:
    columns: tuple[Sequence[Any], ...] = (records.offsets, records.broker_times_us, records.keys, records.values)
    return Record(*(column[index] for column in columns))
