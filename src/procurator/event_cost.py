"""What an event costs: the one function of (event, prices, broker time) that stream, sink and verifier apply. Pure.

Beside it what caching saved, by the same prices.
"""

from decimal import Decimal

from procurator import events
from procurator.avro_schemas.codec import to_decimal
from procurator.events import SessionEvent
from procurator.pricing import EXACT, Cost, PriceBook, PricingError, usage_of

_NOTHING = Decimal(0)


def event_cost(prices: PriceBook, event: SessionEvent, broker_time_us: int) -> Cost | None:
    """Return the cost of a completed model call by the price in force at ``broker_time_us``; of a correction, its own.

    None when it has no price, when its cost is beyond what a record can hold (10^20 USD), and for every other event.
    """
    kind, payload = event["payload"]
    if kind == events.COST_CORRECTED:
        return Cost(to_decimal(payload["difference_usd"]), payload["price_version"])
    if kind != events.MODEL_CALL_COMPLETED:
        return None
    try:
        return prices.cost(usage_of(payload), payload["provider"], payload["model"], broker_time_us, event["org_id"])
    except PricingError:
        return None


def cache_saved_usd(prices: PriceBook, event: SessionEvent, broker_time_us: int, cost: Cost | None) -> Decimal | None:
    """Return what its cache saved a completed model call that costs ``cost``: None of any other event, or unpriced.

    That is what it would have cost with all of its input at the price of fresh input, less what it did cost; below
    zero where writing to the cache cost more than reading from it saved.
    """
    kind, payload = event["payload"]
    if cost is None or kind != events.MODEL_CALL_COMPLETED:
        return None
    usage = usage_of(payload)
    if not usage.cached_input_tokens and not usage.cache_write_tokens:
        return _NOTHING
    whole = usage.input_tokens + usage.cached_input_tokens + usage.cache_write_tokens
    fresh = usage._replace(input_tokens=whole, cached_input_tokens=0, cache_write_tokens=0)
    try:
        uncached = prices.cost(fresh, payload["provider"], payload["model"], broker_time_us, event["org_id"])
    except PricingError:
        return None
    return None if uncached is None else EXACT.subtract(uncached.cost_usd, cost.cost_usd)
