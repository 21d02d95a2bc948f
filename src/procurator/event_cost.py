"""What an event costs: the one function of (event, prices, broker time) that stream, sink and verifier apply. Pure."""

from procurator import events
from procurator.avro_schemas.codec import to_decimal
from procurator.events import SessionEvent
from procurator.pricing import Cost, PriceBook, PricingError, usage_of


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
