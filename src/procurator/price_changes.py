"""Which price records must be published so that the topic says what the sources say, from a minute ahead on. Pure.

History is never rewritten: a version that is in force, or will be before every component could read of a change, stays
as it is. A new cluster is the exception: nothing has been priced yet, so prices may begin in the past.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from procurator.errors import UserError
from procurator.price_record import PriceRecord, PriceVersion, price_key
from procurator.pricing import NOTICE_US, PriceBook, effective_from_allowed

#: `active_from` of a version that shall be in force as soon as that is allowed.
AS_SOON_AS_ALLOWED = 0
#: Time to publish the changes, on top of the notice.
_PUBLISHING_US = 30_000_000


class PastPriceChange(UserError, ValueError):
    """A source wants another price for a time that has been priced already; ``record`` and ``version`` say which."""

    def __init__(self, record: PriceRecord, version: PriceVersion) -> None:
        whose = f" of organisation {record.org_id}" if record.org_id else ""
        self.problem = (
            "begins or ends in the past or within 60 s, where calls have been priced already:"
            " leave the time out, or set it at least 60 s ahead"
        )
        super().__init__(f"price {version.version} of {record.provider} {record.model}{whose} {self.problem}")
        self.record = record
        self.version = version


def price_changes(
    book: PriceBook, listed: Iterable[PriceRecord], operator: Sequence[PriceRecord] | None, now_us: int
) -> list[PriceRecord]:
    """Return the records to publish, by key; none when the topic says it all.

    ``book`` is all that the topic holds. ``listed`` are the list prices and ``operator`` the operator's, complete: what
    is missing is withdrawn. Without a readable file of overrides pass None: the operator's prices stay.
    Raises PastPriceChange; then nothing is to be published.
    """
    wanted = {price_key(r.provider, r.model, r.org_id): r for r in (*listed, *(operator or ()))}
    changed = []
    for key in sorted(wanted.keys() | book.records.keys()):
        old, new = book.records.get(key), wanted.get(key)
        if new is None and old is not None and old.org_id is not None and operator is None:
            continue
        record = new or old
        if record is None:
            continue
        if book.records:
            versions = _merged(old, new or _withdrawal(record), now_us)
            record = replace(record, versions=versions)
        if old is None or record.versions != old.versions:
            changed.append(record)
    return changed


def _withdrawal(old: PriceRecord) -> PriceRecord:
    name = f"{old.versions[-1].version}-withdrawn" if old.versions else "withdrawn"
    version = PriceVersion(name, AS_SOON_AS_ALLOWED, source="no longer in the source", withdrawn=True)
    return replace(old, versions=(version,))


def _merged(old: PriceRecord | None, new: PriceRecord, now_us: int) -> tuple[PriceVersion, ...]:
    """Return the history so far, then what ``new`` says of the time from now on."""
    soon_us = now_us + NOTICE_US + _PUBLISHING_US
    past = [v for v in (old.versions if old else ()) if not effective_from_allowed(v.active_from_us, now_us)]
    pending = [v for v in (old.versions if old else ()) if effective_from_allowed(v.active_from_us, now_us)]
    due = [v for v in new.versions if not effective_from_allowed(v.active_from_us, now_us)]
    for version in due:
        dated = version.active_from_us != AS_SOON_AS_ALLOWED
        if dated and not any(v.active_from_us == version.active_from_us and _same(v, version) for v in past):
            raise PastPriceChange(new, version)
    ahead = [v for v in new.versions if effective_from_allowed(v.active_from_us, now_us)]
    if due and not (past and _same(past[-1], due[-1])):
        # A change on its way keeps its time, else each run would put it off.
        on_its_way = next((v for v in pending if _same(v, due[-1])), None)
        ahead.insert(0, on_its_way or replace(due[-1], active_from_us=soon_us))
    return (*past, *ahead)


def _same(one: PriceVersion, other: PriceVersion) -> bool:
    """Tell whether two versions say the same, whatever they are called and since when they hold."""
    return replace(one, version="", source="", active_from_us=0) == replace(
        other, version="", source="", active_from_us=0
    )
