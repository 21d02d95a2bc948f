"""List prices: every provider and model of the installed `genai-prices`, as price records. Reads the library, no more.

The library's data says when a price holds (from a day on, at a time of day); those conditions go into one version of
the record. `active_from` is another matter: the broker time from which *we* apply that version.
"""

import datetime
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import Any

import genai_prices
from genai_prices import types as lib
from genai_prices.data_snapshot import get_snapshot

from procurator.errors import Fatal
from procurator.price_codec import content_digest
from procurator.price_record import (
    ConditionalRates,
    NameMatch,
    PriceRecord,
    PriceVersion,
    Rate,
    Rates,
)

#: The library's units that events count, and what we call them. The rest of its units is unmetered.
_METERED = {
    "input_mtok": "input",
    "cache_read_mtok": "cached_input",
    "cache_write_mtok": "cache_write",
    "output_mtok": "output",
    "output_reasoning_mtok": "reasoning",
    "requests_kcount": "requests",
}
_OPS = {
    lib.ClauseEquals: ("EQUALS", "equals"),
    lib.ClauseStartsWith: ("STARTS_WITH", "starts_with"),
    lib.ClauseEndsWith: ("ENDS_WITH", "ends_with"),
    lib.ClauseContains: ("CONTAINS", "contains"),
    lib.ClauseRegex: ("REGEX", "regex"),
}
_EPOCH = datetime.date(1970, 1, 1)


def list_prices(active_from_us: int = 0) -> list[PriceRecord]:
    """Return a record of each of the library's models, by name, with one version in force from ``active_from_us``.

    The same library gives the same versions. Raises Fatal when the library's data is of a shape that we would price
    otherwise than it does (its order is not by name, a kind of condition is new).
    """
    providers = get_snapshot().providers
    _require_order("providers", [provider.id for provider in providers])
    records = []
    for provider in providers:
        _require_order(f"models of {provider.id}", [model.id for model in provider.models])
        records += [_record(provider, model, active_from_us) for model in provider.models]
    return records


def _require_order(what: str, names: list[str]) -> None:
    if any(low >= high for low, high in pairwise(names)):
        raise Fatal(f"genai-prices {genai_prices.__version__}: {what} are not in order; first match would differ")


def _record(provider: Any, model: Any, active_from_us: int) -> PriceRecord:
    source = f"genai-prices {genai_prices.__version__}"
    version = PriceVersion(
        version="",
        active_from_us=active_from_us,
        source=source,
        model_match=_match(model.match),
        provider_match=None if provider.provider_match is None else _match(provider.provider_match),
        provider_model_match=None if provider.model_match is None else _match(provider.model_match),
        fallback_providers=tuple(provider.fallback_model_providers or ()),
        prices=tuple(_prices(model.prices)),
    )
    digest = content_digest(provider.id, model.id, None, version)
    version = replace(version, version=f"genai-prices-{genai_prices.__version__}+{digest}")
    return PriceRecord(provider.id, model.id, None, (version,))


def _match(clause: Any) -> NameMatch:
    if isinstance(clause, lib.ClauseOr):
        return NameMatch("ANY", parts=tuple(_match(part) for part in clause.or_))
    if isinstance(clause, lib.ClauseAnd):
        return NameMatch("ALL", parts=tuple(_match(part) for part in clause.and_))
    if type(clause) not in _OPS:
        raise Fatal(f"genai-prices {genai_prices.__version__}: a condition {type(clause).__name__} is new to us")
    op, attribute = _OPS[type(clause)]
    return NameMatch(op, getattr(clause, attribute))


def _prices(prices: Any) -> Iterator[ConditionalRates]:
    if isinstance(prices, lib.ModelPrice):
        yield ConditionalRates(_rates(prices))
        return
    for price in prices:
        rates, constraint = _rates(price.prices), price.constraint
        if constraint is None:
            yield ConditionalRates(rates)
        elif isinstance(constraint, lib.StartDateConstraint):
            yield ConditionalRates(rates, start_day=(constraint.start_date - _EPOCH).days)
        elif isinstance(constraint, lib.TimeOfDateConstraint):
            start_us, end_us = _utc_us(constraint.start_time), _utc_us(constraint.end_time)
            yield ConditionalRates(rates, daily_from_us=start_us, daily_until_us=end_us)
        else:
            raise Fatal(f"genai-prices {genai_prices.__version__}: {type(constraint).__name__} is new to us")


def _utc_us(time: datetime.time) -> int:
    """Return the µs since midnight UTC of a time of day; a naive one is UTC."""
    moment = datetime.datetime.combine(_EPOCH, time, time.tzinfo or datetime.UTC).astimezone(datetime.UTC)
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return (moment - midnight) // datetime.timedelta(microseconds=1)


def _rates(price: Any) -> Rates:
    charged = {key: value for key, value in price.__dict__.items() if value is not None}
    metered = {
        _METERED[key]: _rate(value, 1000 if key == "requests_kcount" else 1)
        for key, value in charged.items()
        if key in _METERED
    }
    return Rates(**metered, unmetered=tuple(sorted(charged.keys() - _METERED.keys())))


def _rate(value: Any, to_million: int) -> Rate:
    if isinstance(value, Decimal):
        return Rate(value * to_million)
    tiers = tuple((tier.start, tier.price * to_million) for tier in value.tiers)
    return Rate(value.base * to_million, tiers)
