"""What a model call costs: one pure function of (tokens, names, broker time, prices), exact to 10^-18 USD.

Stream, sink and verifier apply this function, so that they cannot differ. The price in force is the one at the event's
*broker time*. A model without a price costs None (unpriced), never $0.

Inside, rates are integers of 10^-24 USD per token (10^-18 USD per million tokens, the finest rate a record can carry),
so sums and products are exact; the one rounding is of the call's cost to 10^-18 USD, half to even, and happens only
with rates finer than 10^-12 USD per million tokens.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple

from procurator.price_names import Catalogue, Found
from procurator.price_record import (
    EVERY_ORG,
    PriceRecord,
    PriceVersion,
    PricingError,
    Rate,
    Rates,
    price_key,
)

#: A price change takes effect at least this long after it was published, so that every component has read it.
NOTICE_US = 60_000_000
#: More tokens than this in one bucket are an error of whoever counted.
TOKENS_MAX = 2**53
#: Wide enough for every sum of money here; the default context would round at 28 digits.
EXACT = Context(prec=100)

_FOREVER = 2**63
_USD_LIMIT = 10**38  # decimal(38, 18), in 10^-18 USD
_CACHE_MAX = 20_000
_SEGMENTS_MAX = 64
_CATALOGUES_MAX = 16


class Usage(NamedTuple):
    """A call's tokens in disjoint buckets. A tuple, since one is made for each model call."""

    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0


class Cost(NamedTuple):
    """What a call costs, with 18 decimal places, and the version of the price that says so."""

    cost_usd: Decimal
    price_version: str


#: Input, cached input, cache write, output, reasoning, in 10^-24 USD a token; the fee of the call in 10^-24 USD.
_Scaled = tuple[int, int, int, int, int, int]


class _Segment(NamedTuple):
    """The outcome of a lookup, which holds for broker times in [from_us, until_us)."""

    from_us: int
    until_us: int
    price: "Price | None"


@dataclass(frozen=True, slots=True)
class Price:
    """A price in force: who resolved to what, under which version, at which rates.

    ``base`` and ``tiers`` (above_input_tokens, rates), ascending, are what `PriceBook.cost` computes with.
    """

    provider: str
    model: str
    version: str
    rates: Rates
    base: _Scaled
    tiers: tuple[tuple[int, _Scaled], ...]


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
        fresh, cached, written, output, reasoning = usage
        whole_input = fresh + cached + written
        if not (
            0 <= fresh <= TOKENS_MAX
            and 0 <= cached <= TOKENS_MAX
            and 0 <= written <= TOKENS_MAX
            and 0 <= output <= TOKENS_MAX
            and 0 <= reasoning <= TOKENS_MAX
            and type(whole_input + output + reasoning) is int
        ):
            raise _bad_usage(usage)
        segments = self._segments.get((provider, model, org_id))
        if segments and segments[0].from_us <= at_us < segments[0].until_us:
            price = segments[0].price
        else:
            price = self.price(provider, model, at_us, org_id)
        if price is None:
            return None
        rates = price.base
        for above, tier in price.tiers:
            if whole_input > above:
                rates = tier
        per_fresh, per_cached, per_written, per_output, per_reasoning, fee = rates
        amount, finer = divmod(
            fresh * per_fresh
            + cached * per_cached
            + written * per_written
            + output * per_output
            + reasoning * per_reasoning
            + fee,
            1_000_000,
        )
        if finer and (finer > 500_000 or (finer == 500_000 and amount & 1)):
            amount += 1
        if amount >= _USD_LIMIT:
            raise PricingError(f"{provider} {model}: a cost of 10^20 USD or more cannot be; tokens {tuple(usage)}")
        return Cost(Decimal(amount).scaleb(-18, EXACT), price.version)

    def price(self, provider: str | None, model: str, at_us: int, org_id: str | None = None) -> Price | None:
        """Return the price in force at broker time ``at_us``, or None when there is none."""
        names = (provider, model, org_id)
        segments = self._segments.get(names)
        if segments is None:
            if len(self._segments) >= _CACHE_MAX:
                self._segments.clear()  # names come from events: without end, if someone wills
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
        return _Segment(from_us, until_us, _price(found, found.version, at_us))

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


def _price(found: Found, version: PriceVersion, at_us: int) -> Price | None:
    rates = version.rates_at(at_us)
    if rates is None or not rates.priced:
        return None
    thresholds = {above for rate in _by_bucket(rates) if rate for above, _ in rate.tiers}
    tiers = tuple((above, _scaled(rates, above)) for above in sorted(thresholds))
    return Price(found.provider or "", found.model or "", version.version, rates, _scaled(rates, -1), tiers)


def _by_bucket(rates: Rates) -> tuple[Rate | None, ...]:
    """Return the rate of each bucket and of the call: a bucket that has none is charged as the wider one."""
    return (
        rates.input,
        rates.cached_input or rates.input,
        rates.cache_write or rates.input,
        rates.output,
        rates.reasoning or rates.output,
        rates.requests,
    )


def _scaled(rates: Rates, above: int) -> _Scaled:
    """Return the rates of a call whose whole input is just above that many tokens."""
    usd_per_million = (
        Decimal(0)
        if rate is None
        else next((usd for start, usd in reversed(rate.tiers) if start <= above), rate.usd_per_million)
        for rate in _by_bucket(rates)
    )
    fresh, cached, written, output, reasoning, fee = (int(usd.scaleb(18, EXACT)) for usd in usd_per_million)
    return fresh, cached, written, output, reasoning, fee


def _bad_usage(usage: Usage) -> PricingError:
    for name, tokens in usage._asdict().items():
        if type(tokens) is not int:
            return PricingError(f"{name} is {tokens!r}: not a whole number of tokens")
        if not 0 <= tokens <= TOKENS_MAX:
            return PricingError(f"{name} is {tokens}: a count of tokens lies between 0 and 2^53")
    return PricingError(f"{usage}: no token counts")


def effective_from_allowed(active_from_us: int, now_us: int) -> bool:
    """Tell whether a price published now may take effect then: not before every component has read it."""
    return active_from_us >= now_us + NOTICE_US


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a reported cost may lie from ours: the larger of a share of ours and an amount."""

    share: Decimal = Decimal("0.01")
    amount_usd: Decimal = Decimal("0.000001")


def differs(reported_usd: Decimal | None, ours_usd: Decimal | None, tolerance: Tolerance = Tolerance()) -> bool:
    """Tell whether a runtime's reported cost lies beyond the tolerance of ours; never when either is unknown."""
    if reported_usd is None or ours_usd is None:
        return False
    allowed = max(tolerance.amount_usd, EXACT.multiply(tolerance.share, abs(ours_usd)))
    return abs(EXACT.subtract(reported_usd, ours_usd)) > allowed
