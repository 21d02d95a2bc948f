"""Tokens times rates, exactly. Pure.

Rates are integers of 10^-24 USD per token (10^-18 USD per million tokens, the finest rate that a record can carry), so
products and sums are exact. The one rounding is of a call's cost to 10^-18 USD, half to even; it can happen only with
rates finer than 10^-12 USD per million tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from operator import itemgetter
from typing import Any, NamedTuple

from procurator.price_record import PricingError, Rate, Rates

#: More tokens than this in one bucket are an error of whoever counted.
TOKENS_MAX = 2**53
#: Wide enough for every sum of money here; the default context would round at 28 digits.
EXACT = Context(prec=100)

_USD_LIMIT = 10**38  # decimal(38, 18), in 10^-18 USD
#: Input, cached input, cache write, output, reasoning, in 10^-24 USD a token; the fee of the call in 10^-24 USD.
_Scaled = tuple[int, int, int, int, int, int]


class Usage(NamedTuple):
    """A call's tokens in disjoint buckets. A tuple, since one is made for each model call."""

    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0


_buckets = itemgetter(*Usage._fields)


def usage_of(call: Mapping[str, Any]) -> Usage:
    """Return the tokens of a completed model call, as it stands in an event."""
    return Usage._make(_buckets(call))


class Cost(NamedTuple):
    """What a call costs, with 18 decimal places, and the version of the price that says so."""

    cost_usd: Decimal
    price_version: str


@dataclass(frozen=True, slots=True)
class Price:
    """A price in force: whose it is, by canonical names, under which version, at which rates.

    ``base`` and ``tiers`` (above_input_tokens, rates), ascending, are what `cost_at` computes with.
    """

    provider: str
    model: str
    version: str
    rates: Rates
    base: _Scaled
    tiers: tuple[tuple[int, _Scaled], ...]

    @classmethod
    def of(cls, provider: str, model: str, version: str, rates: Rates) -> "Price":
        """Return the price of these rates."""
        thresholds = {above for rate in _by_bucket(rates) if rate for above, _ in rate.tiers}
        tiers = tuple((above, _scaled(rates, above)) for above in sorted(thresholds))
        return cls(provider, model, version, rates, _scaled(rates, -1), tiers)


def cost_at(price: Price | None, usage: Usage) -> Cost | None:
    """Return what the tokens cost at ``price``; None without one.

    The tier is chosen by the whole input (input + cached + cache write) and holds for all tokens of the call.
    Raises PricingError for a token count that is negative, above 2^53 or no integer, and for a cost of 10^20 USD.
    """
    fresh, cached, written, output, reasoning = usage
    if not (
        type(fresh) is type(cached) is type(written) is type(output) is type(reasoning) is int
        and 0 <= fresh <= TOKENS_MAX
        and 0 <= cached <= TOKENS_MAX
        and 0 <= written <= TOKENS_MAX
        and 0 <= output <= TOKENS_MAX
        and 0 <= reasoning <= TOKENS_MAX
    ):
        raise _bad_usage(usage)
    if price is None:
        return None
    rates = price.base
    if price.tiers:
        whole_input = fresh + cached + written
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
    if finer > 500_000 or (finer == 500_000 and amount & 1):
        amount += 1
    if amount >= _USD_LIMIT:
        raise PricingError(f"{price.provider} {price.model}: {usage} would cost 10^20 USD or more")
    return Cost(Decimal(amount).scaleb(-18, EXACT), price.version)


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
