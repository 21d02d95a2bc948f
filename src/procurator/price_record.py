"""One model's price history: the value of topic `procurator.prices.v1`, as frozen dataclasses. Pure.

A `PriceRecord` carries everything that is known of one model, so that a compacted topic keeps it all. Its versions
are appended, never rewritten. `procurator.price_codec` turns records into raw Avro and back.
"""

import re
import struct
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from procurator.avro_schemas.codec import from_decimal
from procurator.errors import Rejected

#: `org_id` of the operator's prices that hold for every organisation.
EVERY_ORG = ""
BUCKETS = ("input", "cached_input", "cache_write", "output", "reasoning")
DAY_US = 86_400_000_000


class PricingError(Rejected, ValueError):
    """A token count or a price that no exact cost follows from. Never a wrong number instead."""

    reason = "pricing"


class PriceRecordError(PricingError):
    """A price record that breaks its own rules; the prices read before stay in force."""

    reason = "price_record"


@dataclass(frozen=True, slots=True)
class NameMatch:
    """A condition on a name, without regard to case. ``op`` is a symbol of NameMatchOp in price.avsc."""

    op: str
    text: str = ""
    parts: tuple["NameMatch", ...] = ()

    def __post_init__(self) -> None:
        if self.op == "REGEX":
            try:
                re.compile(self.text)
            except re.error as error:
                raise PriceRecordError(f"a price matches names by {self.text!r}, no pattern: {error}") from error

    def matches(self, name: str) -> bool:
        """Tell whether ``name``, which must be lower case, meets the condition."""
        match self.op:
            case "EQUALS":
                return name == self.text.lower()
            case "STARTS_WITH":
                return name.startswith(self.text.lower())
            case "ENDS_WITH":
                return name.endswith(self.text.lower())
            case "CONTAINS":
                return self.text.lower() in name
            case "REGEX":
                return re.search(self.text, name) is not None
            case "ANY":
                return any(part.matches(name) for part in self.parts)
            case "ALL":
                return all(part.matches(name) for part in self.parts)
        raise PriceRecordError(f"a price matches names by {self.op!r}, which this version does not know")


@dataclass(frozen=True, slots=True)
class Rate:
    """US dollars per million; ``tiers`` are (above_input_tokens, usd_per_million), ascending."""

    usd_per_million: Decimal
    tiers: tuple[tuple[int, Decimal], ...] = ()

    def __post_init__(self) -> None:
        starts = [start for start, _ in self.tiers]
        if any(start < 0 for start in starts) or any(low >= high for low, high in pairwise(starts)):
            raise PriceRecordError(f"tiers must begin at ascending token counts, not {starts}")
        for usd in (self.usd_per_million, *(usd for _, usd in self.tiers)):
            if not usd.is_finite() or usd < 0 or usd.adjusted() >= 20:
                raise PriceRecordError(f"a rate of {usd} USD per million is no price")
            try:
                from_decimal(usd)
            except ValueError as error:
                raise PriceRecordError(f"a rate of {usd} USD per million: {error}") from error


@dataclass(frozen=True, slots=True)
class Rates:
    """The rates of one model; see price.avsc for what a missing one means."""

    input: Rate | None = None
    cached_input: Rate | None = None
    cache_write: Rate | None = None
    output: Rate | None = None
    reasoning: Rate | None = None
    requests: Rate | None = None
    unmetered: tuple[str, ...] = ()

    @property
    def priced(self) -> bool:
        """False when all that the provider charges is in units that events do not count."""
        charged = (self.input, self.cached_input, self.cache_write, self.output, self.reasoning, self.requests)
        return not self.unmetered or any(rate is not None for rate in charged)


@dataclass(frozen=True, slots=True)
class ConditionalRates:
    """Rates with the times at which they hold: from a UTC day (since 1970) on, and daily in [from, until) µs."""

    rates: Rates
    start_day: int | None = None
    daily_from_us: int | None = None
    daily_until_us: int | None = None

    def holds(self, at_us: int) -> bool:
        """Tell whether the rates hold at ``at_us`` (µs since the epoch)."""
        day, time_us = divmod(at_us, DAY_US)
        if self.start_day is not None and day < self.start_day:
            return False
        if self.daily_from_us is None or self.daily_until_us is None:
            return True
        if self.daily_until_us < self.daily_from_us:
            return time_us >= self.daily_from_us or time_us < self.daily_until_us
        return self.daily_from_us <= time_us < self.daily_until_us

    def edges(self, at_us: int) -> list[int]:
        """Return instants at which `holds` may change, with the nearest on both sides of ``at_us`` among them."""
        edges = [] if self.start_day is None else [self.start_day * DAY_US]
        midnight = at_us - at_us % DAY_US
        for time_us in (self.daily_from_us, self.daily_until_us):
            if time_us is not None:
                edges += [midnight + days * DAY_US + time_us for days in (-1, 0, 1)]
        return edges


@dataclass(frozen=True, slots=True)
class PriceVersion:
    """How a model is named and priced from ``active_from_us`` on."""

    version: str
    active_from_us: int
    source: str
    withdrawn: bool = False
    model_match: NameMatch | None = None
    provider_match: NameMatch | None = None
    provider_model_match: NameMatch | None = None
    fallback_providers: tuple[str, ...] = ()
    prices: tuple[ConditionalRates, ...] = ()

    def rates_at(self, at_us: int) -> Rates | None:
        """Return the last rates whose condition holds, when none does the first; None when withdrawn."""
        if self.withdrawn or not self.prices:
            return None
        for price in reversed(self.prices):
            if price.holds(at_us):
                return price.rates
        return self.prices[0].rates


@dataclass(frozen=True, slots=True)
class PriceRecord:
    """The history of one model's price. ``org_id``: None for list prices, EVERY_ORG, or one organisation."""

    provider: str
    model: str
    org_id: str | None
    versions: tuple[PriceVersion, ...]

    def __post_init__(self) -> None:
        if any(older.active_from_us >= newer.active_from_us for older, newer in pairwise(self.versions)):
            raise PriceRecordError(f"price of {self.provider} {self.model}: versions must ascend by active_from")

    def version_at(self, at_us: int) -> PriceVersion | None:
        """Return the version in force at ``at_us``, or None before the first."""
        return next((v for v in reversed(self.versions) if v.active_from_us <= at_us), None)


def price_key(provider: str, model: str, org_id: str | None = None) -> bytes:
    """Return the record's key: each name as length (4 bytes, big-endian) and UTF-8; a null organisation is absent."""
    names = (provider, model) if org_id is None else (provider, model, org_id)
    return b"".join(struct.pack(">I", len(name)) + name for name in (text.encode() for text in names))
