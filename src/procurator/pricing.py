"""What a model call costs: one pure function of (tokens, names, broker time, prices), exact to 10^-18 USD.

Stream, sink and verifier apply this function, so that they cannot differ. The price in force is the one at the event's
*broker time*. A model without a price costs None (unpriced), never $0.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple

from procurator.price_arithmetic import EXACT, Cost, Price, Usage, cost_at, usage_of
from procurator.price_names import Catalogue, Found
from procurator.price_record import EVERY_ORG, PriceRecord, PriceVersion, PricingError, price_key

__all__ = [
    "EXACT",
    "NOTICE_US",
    "Cost",
    "Price",
    "PriceBook",
    "PricingError",
    "Tolerance",
    "Usage",
    "differs",
    "effective_from_allowed",
    "price_key",
    "usage_of",
]

#: A price change takes effect at least this long after it was published, so that every component has read it.
NOTICE_US = 60_000_000

_FOREVER = 2**63
# Names come from events, without end if someone wills it: what is remembered is bounded.
_NAMES_MAX = 20_000
_SEGMENTS_MAX = 64
_CATALOGUES_MAX = 16


class _Segment(NamedTuple):
    """The outcome of a lookup, which holds for broker times in [from_us, until_us)."""

    from_us: int
    until_us: int
    price: Price | None


@dataclass(frozen=True)
class PriceBook:
    """All prices that were read, by record key. Immutable; what it looked up it remembers, in bounded memory."""

    records: Mapping[bytes, PriceRecord] = field(default_factory=lambda: MappingProxyType({}))
    _segments: dict[tuple[str | None, str, str | None], list[_Segment]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _catalogues: dict[int, Catalogue] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, records: Iterable[PriceRecord]) -> "PriceBook":
        """Return the book of these records; of two with one key the later counts."""
        return cls().with_records(records)

    def with_record(self, record: PriceRecord) -> "PriceBook":
        """Return the book in which ``record`` replaces the one of its key."""
        return self.with_records((record,))

    def with_records(self, records: Iterable[PriceRecord]) -> "PriceBook":
        """Return the book in which each of ``records`` replaces the one of its key."""
        added = {price_key(record.provider, record.model, record.org_id): record for record in records}
        return PriceBook(MappingProxyType({**self.records, **added}))

    def without(self, key: bytes) -> "PriceBook":
        """Return the book without the record of ``key`` (a tombstone was read)."""
        return PriceBook(MappingProxyType({k: v for k, v in self.records.items() if k != key}))

    def cost(
        self, usage: Usage, provider: str | None, model: str, at_us: int, org_id: str | None = None
    ) -> Cost | None:
        """Return what a call cost at broker time ``at_us`` (µs since the epoch), or None when it has no price.

        An empty provider is an unknown one. Raises PricingError for a token count that is negative, above 2^53 or no
        integer, and for a cost of 10^20 USD or more.
        """
        segments = self._segments.get((provider, model, org_id))
        if segments and segments[0].from_us <= at_us < segments[0].until_us:
            price = segments[0].price
        else:
            price = self.price(provider, model, at_us, org_id)
        return cost_at(price, usage)

    def price(self, provider: str | None, model: str, at_us: int, org_id: str | None = None) -> Price | None:
        """Return the price in force at broker time ``at_us``, or None when there is none."""
        names = (provider, model, org_id)
        segments = self._segments.get(names)
        if segments is None:
            if len(self._segments) >= _NAMES_MAX:
                self._segments.clear()
            segments = self._segments[names] = []
        for index, segment in enumerate(segments):
            if segment.from_us <= at_us < segment.until_us:
                if index:
                    segments.insert(0, segments.pop(index))
                return segment.price
        segment = self._segment(provider, model, at_us, org_id)
        segments.insert(0, segment)
        del segments[_SEGMENTS_MAX:]
        return segment.price

    def versions(self) -> frozenset[str]:
        """Return the names of all versions in the book, past and future ones included."""
        return frozenset(version.version for record in self.records.values() for version in record.versions)

    @cached_property
    def _edges(self) -> list[int]:
        """Instants at which a version comes into force, ascending: between two, every lookup has one outcome."""
        return sorted({v.active_from_us for record in self.records.values() for v in record.versions})

    @cached_property
    def _operator(self) -> dict[str, list[PriceRecord]]:
        """The operator's prices by organisation, each list by name, so that the order of reading is no matter."""
        layers: dict[str, list[PriceRecord]] = {}
        for _, record in sorted(self.records.items()):
            if record.org_id is not None:
                layers.setdefault(record.org_id, []).append(record)
        return layers

    def _segment(self, provider: str | None, model: str, at_us: int, org_id: str | None) -> _Segment:
        place = bisect_right(self._edges, at_us)
        from_us = self._edges[place - 1] if place else -_FOREVER
        until_us = self._edges[place] if place < len(self._edges) else _FOREVER
        catalogue = self._catalogues.get(from_us)
        if catalogue is None:
            if len(self._catalogues) >= _CATALOGUES_MAX:
                self._catalogues.clear()
            catalogue = self._catalogues[from_us] = Catalogue(self.records.values(), from_us)
        found = catalogue.find(provider, model)
        found = self._operator_price(found, provider, model, from_us, org_id) or found
        if found.version is None:
            return _Segment(from_us, until_us, None)
        for conditional in found.version.prices:
            for edge in conditional.edges(at_us):
                from_us = max(from_us, edge) if edge <= at_us else from_us
                until_us = min(until_us, edge) if edge > at_us else until_us
        rates = found.version.rates_at(at_us)
        if rates is None or not rates.priced:
            return _Segment(from_us, until_us, None)
        price = Price.of(found.provider or "", found.model or "", found.version.version, rates)
        return _Segment(from_us, until_us, price)

    def _operator_price(
        self, found: Found, provider: str | None, model: str, at_us: int, org_id: str | None
    ) -> Found | None:
        """Return the organisation's own price, else the operator's for all, for the names as given or as resolved."""
        providers = {(provider or "").lower().strip(), found.provider} - {""}
        own = [] if org_id in (None, EVERY_ORG) else self._operator.get(org_id or "", [])
        for layer in (own, self._operator.get(EVERY_ORG, [])):
            nearest: tuple[int, Found] | None = None
            for record in layer:
                version = record.version_at(at_us)
                if version is None or version.withdrawn or record.provider.lower() not in providers:
                    continue
                distance = _distance(record.model, version, model.lower(), found.model)
                if distance is not None and (nearest is None or distance < nearest[0]):
                    nearest = distance, Found(record.provider, record.model, version)
            if nearest is not None:
                return nearest[1]
        return None


def _distance(name: str, version: PriceVersion, given: str, resolved: str | None) -> int | None:
    """Return how near an operator's price is to a model: by its name 0, by an alias 1, by what the name means 2."""
    if name.lower() == given:
        return 0
    if version.model_match is not None and version.model_match.matches(given):
        return 1
    return 2 if name == resolved else None


def effective_from_allowed(active_from_us: int, now_us: int) -> bool:
    """Tell whether a price published now may take effect then: not before every component has read it."""
    return active_from_us >= now_us + NOTICE_US


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a reported cost may lie from ours: the larger of a share of ours and an amount."""

    share: Decimal = Decimal("0.01")
    amount_usd: Decimal = Decimal("0.000001")


_TOLERANCE = Tolerance()


def differs(reported_usd: Decimal | None, ours_usd: Decimal | None, tolerance: Tolerance = _TOLERANCE) -> bool:
    """Tell whether a runtime's reported cost lies beyond the tolerance of ours; never when either is unknown."""
    if reported_usd is None or ours_usd is None:
        return False
    allowed = max(tolerance.amount_usd, EXACT.multiply(tolerance.share, abs(ours_usd)))
    return abs(EXACT.subtract(reported_usd, ours_usd)) > allowed
