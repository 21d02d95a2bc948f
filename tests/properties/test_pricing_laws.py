"""Laws of pricing: a sum of buckets, no matter in which order records came, the same through Avro."""

import random
from dataclasses import replace
from decimal import Decimal, localcontext

import hypothesis.strategies as st
from hypothesis import given

from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.price_codec import content_digest, from_avro, to_avro
from procurator.price_record import (
    DAY_US,
    EVERY_ORG,
    ConditionalRates,
    NameMatch,
    PriceRecord,
    PriceVersion,
    Rate,
    Rates,
    price_key,
)
from procurator.pricing import EXACT, PriceBook, Usage

SCHEMA = load_schema("price")
MODELS = ("m", "m-1", "n")
PROVIDERS = ("p", "q")
ORGS = (None, EVERY_ORG, "acme")
Call = tuple[Usage, str | None, str, int, str | None]

tokens = st.integers(0, 2**53)
usages = st.builds(Usage, tokens, tokens, tokens, tokens, tokens)
#: As fine as nearly all rates are: 12 decimal places per million, so that a token's cost has 18.
money = st.integers(0, 10**16).map(lambda n: Decimal(n).scaleb(-12, EXACT))
flat_rates = money.map(Rate)
rates = st.builds(
    Rate,
    money,
    st.lists(st.tuples(st.integers(0, 10**6), money), max_size=3, unique_by=lambda tier: tier[0]).map(
        lambda tiers: tuple(sorted(tiers))
    ),
)


def cards(rate: st.SearchStrategy[Rate]) -> st.SearchStrategy[Rates]:
    maybe = st.none() | rate
    units = st.lists(st.sampled_from(["audio_hours", "input_mchars"]), max_size=2, unique=True).map(tuple)
    return st.builds(Rates, maybe, maybe, maybe, maybe, maybe, maybe, units)


matches = st.recursive(
    st.builds(NameMatch, st.sampled_from(["EQUALS", "STARTS_WITH", "ENDS_WITH", "CONTAINS"]), st.sampled_from(MODELS)),
    lambda inner: st.builds(
        NameMatch, st.sampled_from(["ANY", "ALL"]), st.just(""), st.lists(inner, max_size=3).map(tuple)
    ),
    max_leaves=4,
)
times = st.none() | st.integers(0, DAY_US - 1)
conditionals = st.builds(ConditionalRates, cards(rates), st.none() | st.integers(0, 5), times, times)
versions = st.builds(
    PriceVersion,
    version=st.text(max_size=5),
    active_from_us=st.integers(0, 5 * DAY_US),
    source=st.text(max_size=5),
    withdrawn=st.booleans(),
    model_match=st.none() | matches,
    provider_match=st.none() | matches,
    provider_model_match=st.none() | matches,
    fallback_providers=st.lists(st.sampled_from(PROVIDERS), max_size=2).map(tuple),
    prices=st.lists(conditionals, max_size=3).map(tuple),
)
records = st.builds(
    PriceRecord,
    st.sampled_from(PROVIDERS),
    st.sampled_from(MODELS),
    st.sampled_from(ORGS),
    st.lists(versions, max_size=3, unique_by=lambda version: version.active_from_us).map(
        lambda found: tuple(sorted(found, key=lambda version: version.active_from_us))
    ),
)
histories = st.lists(records, max_size=6, unique_by=lambda record: (record.provider, record.model, record.org_id))
calls = st.tuples(
    usages,
    st.sampled_from([None, *PROVIDERS, "other"]),
    st.sampled_from([*MODELS, "M", "m-20260101"]),
    st.integers(-1, 6 * DAY_US),
    st.sampled_from(ORGS),
)


def book_of(card: Rates) -> PriceBook:
    version = PriceVersion("v", 0, "a law", model_match=NameMatch("EQUALS", "m"), prices=(ConditionalRates(card),))
    return PriceBook.of([PriceRecord("p", "m", None, (version,))])


def usd(book: PriceBook, usage: Usage) -> Decimal | None:
    cost = book.cost(usage, "p", "m", 0)
    return None if cost is None else cost.cost_usd


def plain_formula(card: Rates, usage: Usage) -> Decimal:
    """Return the cost as the rules of docs/pricing.md say it, in Decimals and without haste."""
    whole_input = usage.input_tokens + usage.cached_input_tokens + usage.cache_write_tokens
    counts = (*usage, 1)
    bills = (card.input, card.cached_input, card.cache_write, card.output, card.reasoning, card.requests)
    wider = (None, card.input, card.input, None, card.output, None)
    total = Decimal(0)
    with localcontext(EXACT):
        for count, own, other in zip(counts, bills, wider, strict=True):
            if rate := own or other:
                exceeded = [usd for above, usd in rate.tiers if whole_input > above]
                total += count * (exceeded[-1] if exceeded else rate.usd_per_million) / 1_000_000
        return total.quantize(Decimal("1e-18"))


@given(cards(rates), usages)
def test_a_cost_is_what_the_plain_formula_says(card: Rates, usage: Usage) -> None:
    assert usd(book_of(card), usage) == (plain_formula(card, usage) if card.priced else None)


@given(cards(flat_rates), usages, usages)
def test_without_tiers_costs_add_up_over_calls_but_for_the_fee(card: Rates, one: Usage, other: Usage) -> None:
    book = book_of(card)
    one, other = (Usage(*(count // 2 for count in usage)) for usage in (one, other))
    both = Usage(*(a + b for a, b in zip(one, other, strict=True)))
    costs = [usd(book, usage) for usage in (one, other, both, Usage())]
    if None in costs:
        assert set(costs) == {None}
        return
    first, second, together, fee = (cost or Decimal(0) for cost in costs)
    with localcontext(EXACT):
        assert first + second == together + fee


@given(histories, st.randoms(), st.lists(calls, max_size=8))
def test_the_order_in_which_records_came_does_not_matter(
    history: list[PriceRecord], rng: random.Random, asked: list[Call]
) -> None:
    at_once, one_by_one = PriceBook.of(history), PriceBook()
    for record in rng.sample(history, len(history)):
        one_by_one = one_by_one.with_record(record)
    assert [at_once.cost(*call) for call in asked] == [one_by_one.cost(*call) for call in asked]


@given(histories, st.lists(calls, max_size=20))
def test_what_was_asked_before_does_not_matter(history: list[PriceRecord], asked: list[Call]) -> None:
    book = PriceBook.of(history)
    assert [book.cost(*call) for call in asked] == [PriceBook.of(history).cost(*call) for call in asked]


@given(histories, st.lists(calls, max_size=8))
def test_records_and_costs_are_the_same_after_avro(history: list[PriceRecord], asked: list[Call]) -> None:
    decoder = Decoder(SCHEMA, lambda _: SCHEMA.text)
    decoded = [from_avro(decoder.decode(SCHEMA.encode(to_avro(record), 1))) for record in history]
    assert decoded == history
    before, after = PriceBook.of(history), PriceBook.of(decoded)
    assert [before.cost(*call) for call in asked] == [after.cost(*call) for call in asked]


@given(versions, versions)
def test_the_digest_tells_contents_apart_and_nothing_else(one: PriceVersion, other: PriceVersion) -> None:
    renamed = replace(one, version=other.version, source=other.source, active_from_us=other.active_from_us)
    assert content_digest("p", "m", None, renamed) == content_digest("p", "m", None, one)
    same = content_digest("p", "m", None, one) == content_digest("p", "m", None, other)
    assert same == (renamed == other)
    assert content_digest("p", "m", None, one) != content_digest("p", "m", EVERY_ORG, one)


names = st.text(max_size=4)


@given(st.tuples(names, names, st.none() | names), st.tuples(names, names, st.none() | names))
def test_keys_are_equal_only_for_equal_names(
    one: tuple[str, str, str | None], other: tuple[str, str, str | None]
) -> None:
    assert (price_key(*one) == price_key(*other)) == (one == other)
