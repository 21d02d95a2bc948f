"""Records of one log → a block that is ready to be inserted. Pure, but for the questions a projection may ask."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from procurator.audit_events import AuditEvent
from procurator.errors import Rejected
from procurator.events import SessionEvent, is_uuid
from procurator.leaf import leaf_hashes
from procurator.pricing import PriceBook
from procurator.sink import arrow, rows
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


#: Events are made into columns while they are still in the processor's cache: a fifth faster than block by block.
_CHUNK_ROWS = 1_000


@dataclass
class EventProjection:
    """Session events of one log → ``events``. ``prices`` gives the book as of now, never one out of date."""

    log: Log
    parse: Callable[[bytes | None], SessionEvent]
    repeats: Repeats
    prices: Callable[[], PriceBook]
    table: str = field(default="events", init=False)

    def project(self, records: Records) -> Projected:
        prices = self.prices()
        self.repeats.begin(records.offsets[0], session_ids(records.keys))
        flags: list[tuple[str, ...]] = []
        rejected: dict[int, Rejected] = {}
        parts = []
        for first in range(0, len(records), _CHUNK_ROWS):
            chunk = slice(first, first + _CHUNK_ROWS)
            events, why = rows.parse_all(self.parse, records.values[chunk])
            rejected.update((first + index, error) for index, error in why.items())
            flags += rows.event_flags(events, self.log, self.repeats.observe)
            parts.append(rows.event_columns(events, records.broker_times_us[chunk], prices))
        return Projected(flags, rejected, arrow.concatenated(parts))

    def landed(self, blocks: int) -> None:
        self.repeats.forget(blocks)


def session_ids(keys: Iterable[bytes | None]) -> list[str]:
    """Return the sessions that records' keys name, each once; a key may be anything."""
    names = (key.decode("ascii", "replace") for key in dict.fromkeys(keys) if key)
    return [name for name in names if is_uuid(name)]


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
