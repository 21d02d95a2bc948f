"""Corrections of past prices: the events that add what calls cost less, or more, than they were charged. Pure.

What was charged stands in the ledger for good; a correction is another event in the call's session, with the
difference. Its emitter is the same for all, and numbers a session's corrections in the order of their calls: a run that
is repeated before the ledger has seen it to its end emits the same numbers again; those are repeated, count nowhere.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

from procurator import events, signals
from procurator.avro_schemas.codec import from_decimal
from procurator.budgets.periods import charged_at
from procurator.errors import UserError
from procurator.events import SessionEvent
from procurator.price_changes import AS_SOON_AS_ALLOWED
from procurator.price_record import PriceRecord, PriceVersion, price_key
from procurator.pricing import EXACT, PriceBook, Usage

EMITTER_ID = "procurator.corrections"


class Charged(NamedTuple):
    """A completed model call as the ledger has it; ``charged_usd`` with earlier corrections, None while unpriced.

    ``corrections`` is how many its session has had so far.
    """

    session_id: str
    offset: int
    broker_time_us: int
    occurred_at_us: int
    imported: bool
    org_id: str
    agent_id: str
    owner_team_id: str
    model_call_id: str
    provider: str
    model: str
    turn_index: int | None
    usage: Usage
    charged_usd: Decimal | None
    corrections: int


class Correction(NamedTuple):
    """One event to append, and what it corrects by."""

    call: Charged
    difference_usd: Decimal
    event: SessionEvent


class Author(NamedTuple):
    """Who corrects, why, when, and where the random bytes of each event come from."""

    name: str
    reason: str | None
    now_us: int
    nonce: Callable[[], bytes]


class Revision(NamedTuple):
    """Prices as they should have been: the book with them, their versions, and the broker times they are about."""

    book: PriceBook
    versions: frozenset[str]
    from_us: int
    until_us: int

    @classmethod
    def of(cls, book: PriceBook, records: Iterable[PriceRecord], now_us: int) -> "Revision":
        """Return what ``records`` (a file of the operator's prices) put right in ``book``, up to now.

        Raises UserError for a price that does not say from when on it should have held.
        """
        records = list(records)
        for record in records:
            if any(version.active_from_us == AS_SOON_AS_ALLOWED for version in record.versions):
                raise UserError(
                    f"{record.provider} {record.model}: needs active_from: since when is it to be corrected?"
                )
        versions = [version for record in records for version in record.versions]
        revised = [_overlaid(book.records.get(_key(record)), record) for record in records]
        return cls(
            book.with_records(revised),
            frozenset(version.version for version in versions if not version.withdrawn),
            min((version.active_from_us for version in versions), default=now_us),
            now_us,
        )


def corrections(calls: Iterable[Charged], revision: Revision, author: Author) -> Iterator[Correction]:
    """Yield the correction of each call that was charged otherwise; ``calls`` by session, in the order of its log."""
    session_id, sequence = "", 0
    for call in calls:
        if call.session_id != session_id:
            session_id, sequence = call.session_id, call.corrections
        cost = revision.book.cost(call.usage, call.provider, call.model, call.broker_time_us, call.org_id)
        if cost is None or cost.price_version not in revision.versions:
            continue
        difference = EXACT.subtract(cost.cost_usd, call.charged_usd or Decimal(0))
        if difference or call.charged_usd is None:
            yield Correction(call, difference, _event(call, difference, cost.price_version, sequence, author))
            sequence += 1


def _event(call: Charged, difference: Decimal, price_version: str, sequence: int, author: Author) -> SessionEvent:
    payload = {
        "model_call_id": call.model_call_id,
        "provider": call.provider,
        "model": call.model,
        "turn_index": call.turn_index,
        "corrects_offset": call.offset,
        "charged_at": charged_at(call.occurred_at_us, call.broker_time_us),
        "difference_usd": from_decimal(difference),
        "newly_priced_tokens": sum(call.usage) if call.charged_usd is None else None,
        "price_version": price_version,
        "corrected_by": author.name,
        "reason": author.reason,
    }
    owner = {"org_id": call.org_id, "agent_id": call.agent_id, "owner_team_id": call.owner_team_id}
    said = (events.COST_CORRECTED, payload)
    event = signals.event_of(EMITTER_ID, owner, call.session_id, said, author.now_us, author.nonce())
    event["event_id"] = signals.deterministic_id("event", call.session_id, EMITTER_ID, str(sequence))
    event["sequence"] = sequence
    event["imported"] = call.imported
    return event


def _overlaid(old: PriceRecord | None, new: PriceRecord) -> PriceRecord:
    """Return the history in which ``new`` holds where it has a price, and ``old`` before and after."""
    if old is None:
        return new
    versions: list[PriceVersion] = []
    for at_us in sorted({version.active_from_us for record in (old, new) for version in record.versions}):
        ours, theirs = new.version_at(at_us), old.version_at(at_us)
        chosen = theirs if ours is None or (ours.withdrawn and theirs is not None) else ours
        if chosen is not None and not (versions and versions[-1].version == chosen.version):
            versions.append(replace(chosen, active_from_us=at_us))
    return replace(new, versions=tuple(versions))


def _key(record: PriceRecord) -> bytes:
    return price_key(record.provider, record.model, record.org_id)
