"""What caching saved a call, beside what the call costs."""

import uuid
from decimal import Decimal
from typing import Any

import pytest

from procurator import events
from procurator.event_cost import cache_saved_usd, event_cost
from procurator.price_record import ConditionalRates, PriceRecord, PriceVersion, Rate, Rates
from procurator.pricing import PriceBook

#: A million tokens: fresh 3 USD, from the cache 0.3, written to it 3.75, output 15; above 200,000 of input twice that.
RATES = Rates(
    input=Rate(Decimal(3), ((200_000, Decimal(6)),)),
    cached_input=Rate(Decimal("0.3"), ((200_000, Decimal("0.6")),)),
    cache_write=Rate(Decimal("3.75"), ((200_000, Decimal("7.5")),)),
    output=Rate(Decimal(15)),
)
PRICES = PriceBook.of(
    [PriceRecord("p", "m", None, (PriceVersion("v1", 0, "a test", prices=(ConditionalRates(RATES),)),))]
)


def saved(tokens: dict[str, int], kind: str = events.MODEL_CALL_COMPLETED, model: str = "m") -> Decimal | None:
    payload: dict[str, Any] = {**dict.fromkeys(events.TOKEN_BUCKETS, 0), **tokens, "provider": "p", "model": model}
    event: Any = {"session_id": str(uuid.UUID(int=1)), "org_id": "acme", "payload": (kind, payload)}
    cost = event_cost(PRICES, event, 1)
    return cache_saved_usd(PRICES, event, 1, cost)


@pytest.mark.parametrize(
    ("tokens", "usd"),
    [
        ({"input_tokens": 1000, "output_tokens": 500}, "0"),
        ({"cached_input_tokens": 100_000}, "0.27"),
        ({"cached_input_tokens": 300_000}, "1.62"),
        ({"cache_write_tokens": 100_000}, "-0.075"),
        ({"cached_input_tokens": 100_000, "cache_write_tokens": 100_000, "output_tokens": 7}, "0.195"),
        ({"input_tokens": 100_001, "cached_input_tokens": 100_000}, "0.54"),
    ],
    ids=["no cache", "read", "read in the upper tier", "only written", "both", "the tier is of the whole input"],
)
def test_savings_are_against_the_price_of_fresh_input(tokens: dict[str, int], usd: str) -> None:
    assert saved(tokens) == Decimal(usd)


def test_what_has_no_price_saved_nothing_that_is_known() -> None:
    assert saved({"cached_input_tokens": 7}, model="another") is None
    assert saved({}, kind=events.TURN_RECORDED) is None
