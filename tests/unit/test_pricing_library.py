"""Costs against `genai-prices` itself, to the last digit: every model, aliases and dated names, tiers, days, hours."""

import random
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from functools import cache
from typing import Any

import genai_prices
import hypothesis.strategies as st
import pytest
from genai_prices import types as lib
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given

from procurator.clock import to_us
from procurator.price_record import DAY_US
from procurator.price_source import list_prices
from procurator.pricing import EXACT, PriceBook, Usage

#: The last digit that a cost has.
LAST = Decimal("1e-18")
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@cache
def book() -> PriceBook:
    return PriceBook.of(list_prices())


def library_cost(usage: Usage, provider: str | None, model: str, at: datetime) -> Decimal | None:
    """Return the library's price, computed without its rounding to 28 digits; None where it has none."""
    tokens = genai_prices.Usage(
        input_tokens=usage.input_tokens + usage.cached_input_tokens + usage.cache_write_tokens,
        cache_read_tokens=usage.cached_input_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        output_tokens=usage.output_tokens + usage.reasoning_tokens,
        output_reasoning_tokens=usage.reasoning_tokens,
    )
    with localcontext(EXACT):
        try:
            price = genai_prices.calc_price(tokens, model, provider_id=provider, genai_request_timestamp=at)
        except LookupError:
            return None
        if not _in_tokens(price.model_price):
            return None
        return Decimal(price.total_price).quantize(LAST)


def _in_tokens(price: Any) -> bool:
    keys = [key for key, value in price.__dict__.items() if value is not None]
    return not keys or any(key.endswith("_mtok") or key == "requests_kcount" for key in keys)


def our_cost(usage: Usage, provider: str | None, model: str, at: datetime) -> Decimal | None:
    cost = book().cost(usage, provider, model, to_us(at))
    return None if cost is None else cost.cost_usd


def agree(usage: Usage, provider: str | None, model: str, at: datetime) -> None:
    ours, theirs = our_cost(usage, provider, model, at), library_cost(usage, provider, model, at)
    assert ours == theirs, f"{provider} {model} {usage} at {at}: {ours} where the library has {theirs}"


def clauses(clause: Any) -> list[Any]:
    """Return a condition and all within it."""
    parts = getattr(clause, "or_", None) or getattr(clause, "and_", None) or []
    return [clause, *(inner for part in parts for inner in clauses(part))]


def sample(pattern: str) -> str:
    """Return a name that one of the library's patterns accepts: dates, choices and escapes filled in."""
    for special, text in ((r"\d{8}", "20260131"), (r"\d{4}-\d{2}-\d{2}", "2026-01-31"), (r"\d", "7"), ("[-@]", "@")):
        pattern = pattern.replace(special, text)
    return re.sub(r"\(\?!.*\)|[\^$\\]", "", pattern)


def names_like(clause: Any, rng: random.Random) -> str:
    """Return a name that a simple condition accepts, or nearly."""
    text = next(str(value) for value in vars(clause).values())
    if isinstance(clause, lib.ClauseRegex):
        return sample(text)
    prefix = rng.choice(["", "eu.", "x/"]) if isinstance(clause, lib.ClauseEndsWith | lib.ClauseContains) else ""
    endings = ["", "-20260131", "-2026-01-31", "-preview", ":free", "-20261399"]
    suffix = rng.choice(endings) if isinstance(clause, lib.ClauseStartsWith | lib.ClauseContains) else ""
    return prefix + text + suffix


@cache
def model_names() -> list[tuple[str, str]]:
    """Return (provider, name) for every name and condition of the library, in a fixed order."""
    rng = random.Random(1)
    names = []
    for provider in get_snapshot().providers:
        for model in provider.models:
            names.append((provider.id, model.id))
            simple = [c for c in clauses(model.match) if not isinstance(c, lib.ClauseOr | lib.ClauseAnd)]
            names += [(provider.id, names_like(clause, rng)) for clause in simple]
    return names


def thresholds() -> list[int]:
    found = {0}
    for record in book().records.values():
        for price in record.versions[0].prices:
            rates = (price.rates.input, price.rates.output, price.rates.cache_write, price.rates.cached_input)
            found |= {above for rate in rates if rate for above, _ in rate.tiers}
    return sorted(found)


def any_usage(rng: random.Random) -> Usage:
    """Return token counts: small, around a tier's border, or huge."""
    if rng.random() < 0.4:
        border = rng.choice(thresholds()) + rng.choice([-1, 0, 1, 2])
        cached = rng.randint(0, max(border, 0))
        written = rng.randint(0, max(border - cached, 0))
        return Usage(max(border - cached - written, 0), cached, written, rng.randint(0, 5000), rng.randint(0, 5000))
    top = rng.choice([3, 10_000, 10**7, 2**53])
    return Usage(*(rng.choice([0, 1, rng.randint(0, top), top]) for _ in range(5)))


def any_time(rng: random.Random) -> datetime:
    """Return an instant, often within a microsecond of a border of the hours and days at which prices change."""
    if rng.random() < 0.5:
        day = rng.choice(["2025-05-22", "2025-12-18", "2026-06-23", "2026-08-17", "2026-09-10", "2026-10-14"])
        hour = rng.choice(["00:00", "00:30", "01:00", "04:00", "06:00", "10:00", "16:30"])
        return datetime.fromisoformat(f"{day}T{hour}Z") + timedelta(microseconds=rng.choice([-1, 0, 1]))
    return datetime(2024, 1, 1, tzinfo=UTC) + timedelta(microseconds=rng.randint(0, 4 * 365 * DAY_US))


def test_samples_of_the_patterns_are_accepted_by_them() -> None:
    patterns = [
        clause
        for provider in get_snapshot().providers
        for model in provider.models
        for clause in clauses(model.match)
        if isinstance(clause, lib.ClauseRegex)
    ]
    assert len(patterns) > 50
    assert all(pattern.is_match(sample(pattern.regex)) for pattern in patterns)


def test_every_model_name_and_alias_costs_what_the_library_says() -> None:
    rng = random.Random(2)
    assert len(model_names()) > 3000
    for provider, name in model_names():
        agree(Usage(1001, 203, 57, 311, 13), provider, rng.choice([name, name.upper()]), NOON)


def test_names_without_their_provider_resolve_as_in_the_library() -> None:
    for provider, name in model_names():
        agree(Usage(1001, 203, 57, 311, 13), None, name, NOON)
        agree(Usage(1001, 203, 57, 311, 13), "litellm", f"{provider}/{name}", NOON)


@pytest.mark.parametrize(
    "alias", ["bedrock", "Amazon Bedrock", "google-vertex", " OpenAI ", "xai", "moonshot", " groq ", "nobody"]
)
def test_provider_aliases_resolve_as_in_the_library(alias: str) -> None:
    for name in (
        "gpt-4o",
        "claude-sonnet-4-5-20250929",
        "gemini-2.5-pro",
        "grok-4",
        "kimi-k2-thinking",
        "llama-3.1-8b-instant",
        "amazon.nova-lite-v1:0",
    ):
        agree(Usage(1001, 203, 57, 311, 13), alias, name, NOON)


@pytest.mark.parametrize("seed", range(4))
def test_generated_calls_cost_what_the_library_says(seed: int) -> None:
    rng = random.Random(seed)
    providers = [provider.id for provider in get_snapshot().providers]
    priced = 0
    for _ in range(2500):
        provider, name = rng.choice(model_names())
        if rng.random() < 0.2:
            provider = rng.choice(providers)
        usage, at = any_usage(rng), any_time(rng)
        agree(usage, provider, name, at)
        priced += our_cost(usage, provider, name, at) is not None
    assert priced > 1500


def test_hours_and_days_at_which_prices_change() -> None:
    rng = random.Random(5)
    dated = [
        (record.provider, record.model) for record in book().records.values() if len(record.versions[0].prices) > 1
    ]
    assert len(dated) > 20
    for provider, model in dated:
        for _ in range(60):
            agree(any_usage(rng), provider, model, any_time(rng))


@given(st.text(max_size=12), st.text(max_size=30))
def test_any_text_as_a_name_resolves_as_in_the_library(provider: str, model: str) -> None:
    agree(Usage(1, 2, 3, 4, 5), provider or None, model, NOON)


def test_a_model_charged_in_units_that_events_do_not_count_is_unpriced() -> None:
    assert our_cost(Usage(1000, 0, 0, 10, 0), "openai", "whisper-1", NOON) is None
    assert our_cost(Usage(1000, 0, 0, 10, 0), "mistral", "mistral-ocr-latest", NOON) is None


def test_a_model_that_the_library_lists_without_rates_is_free_as_there() -> None:
    cost = book().cost(Usage(1000, 0, 0, 10, 0), "github-copilot", "gpt-4.1", to_us(NOON))
    assert cost is not None
    assert cost.cost_usd == 0
    assert cost.price_version.startswith(f"genai-prices-{genai_prices.__version__}+")
