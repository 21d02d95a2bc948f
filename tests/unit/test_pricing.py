"""What a call costs: rates, tiers, time, organisations, and what is refused."""

from dataclasses import replace
from decimal import Decimal

import pytest

from procurator.errors import Rejected
from procurator.price_codec import from_avro
from procurator.price_record import (
    EVERY_ORG,
    ConditionalRates,
    NameMatch,
    PriceRecord,
    PriceRecordError,
    PriceVersion,
    Rate,
    Rates,
    price_key,
)
from procurator.pricing import (
    EXACT,
    NOTICE_US,
    PriceBook,
    PricingError,
    Tolerance,
    Usage,
    differs,
    effective_from_allowed,
    usage_of,
)

HOUR_US = 3_600_000_000
INPUT_ONLY = Rates(input=Rate(Decimal(3)))


def price(
    rates: Rates = INPUT_ONLY,
    *,
    model: str = "m",
    org_id: str | None = None,
    version: str = "v1",
    from_us: int = 0,
    aliases: tuple[str, ...] = (),
) -> PriceRecord:
    names = tuple(NameMatch("EQUALS", name) for name in ((model, *aliases) if org_id is None else aliases))
    match = NameMatch("ANY", parts=names) if names else None
    entry = PriceVersion(version, from_us, "a test", model_match=match, prices=(ConditionalRates(rates),))
    return PriceRecord("p", model, org_id, (entry,))


def usd(book: PriceBook, usage: Usage, *, model: str = "m", at_us: int = 1, org_id: str | None = None) -> str | None:
    cost = book.cost(usage, "p", model, at_us, org_id)
    return None if cost is None else f"{cost.cost_usd.normalize():f} {cost.price_version}"


def test_each_bucket_has_its_rate() -> None:
    three, tenth, quarter, output, reasoning, fee = (
        Rate(Decimal(usd)) for usd in ("3", "0.3", "3.75", "15", "20", "5000")
    )
    rates = Rates(three, tenth, quarter, output, reasoning, fee)
    assert usd(PriceBook.of([price(rates)]), Usage(1, 10, 100, 1000, 10_000)) == "0.220381 v1"


def test_a_bucket_without_a_rate_is_charged_as_the_wider_one() -> None:
    rates = Rates(input=Rate(Decimal(1)), output=Rate(Decimal(100)))
    assert usd(PriceBook.of([price(rates)]), Usage(1, 2, 3, 4, 5)) == "0.000906 v1"


def test_without_an_output_rate_output_is_not_charged() -> None:
    assert usd(PriceBook.of([price()]), Usage(1, 0, 0, 1000, 1000)) == "0.000003 v1"


def test_a_tier_holds_for_all_tokens_of_a_call_whose_whole_input_is_above_it() -> None:
    rates = Rates(
        input=Rate(Decimal(1), ((10, Decimal(2)), (20, Decimal(3)))), output=Rate(Decimal(10), ((20, Decimal(30)),))
    )
    book = PriceBook.of([price(rates)])
    assert usd(book, Usage(5, 3, 2, 1)) == "0.00002 v1"
    assert usd(book, Usage(5, 3, 3, 1)) == "0.000032 v1"
    assert usd(book, Usage(5, 10, 6, 1)) == "0.000093 v1"


def test_an_unknown_model_or_provider_is_unpriced_never_zero() -> None:
    book = PriceBook.of([price()])
    assert usd(book, Usage(1), model="other") is None
    assert book.cost(Usage(1), "other", "m", 1) is None
    assert PriceBook().cost(Usage(1), "p", "m", 1) is None


def test_a_price_is_unpriced_when_all_its_charges_are_unmetered_and_zero_when_it_is_free() -> None:
    assert usd(PriceBook.of([price(Rates(unmetered=("audio_hours",)))]), Usage(1)) is None
    assert usd(PriceBook.of([price(Rates())]), Usage(1)) == "0 v1"
    assert (
        usd(PriceBook.of([price(Rates(input=Rate(Decimal(1)), unmetered=("audio_hours",)))]), Usage(1)) == "0.000001 v1"
    )


def test_a_cost_has_eighteen_places_and_rounds_half_to_even_beyond_them() -> None:
    def cost(rate: str, tokens: int) -> Decimal:
        result = PriceBook.of([price(Rates(input=Rate(Decimal(rate))))]).cost(Usage(tokens), "p", "m", 1)
        assert result is not None
        return result.cost_usd

    assert cost("0.000000000001", 1).as_tuple().exponent == -18
    assert cost("0.000000000001", 1) == Decimal("1E-18")
    assert cost("0.0000000000005", 1) == 0
    assert cost("0.0000000000005", 3) == Decimal("2E-18")
    assert cost("0.0000000000005", 5) == Decimal("2E-18")
    assert cost("0.000000000000500001", 1) == Decimal("1E-18")
    assert cost("0.08333333333333334", 3) == Decimal("0.00000025")


def test_the_largest_counts_are_exact() -> None:
    rate = Rate(Decimal("99.999999999999"))
    rates = Rates(rate, rate, rate, rate, rate)
    cost = PriceBook.of([price(rates)]).cost(Usage(*[2**53] * 5), "p", "m", 1)
    assert cost is not None
    assert cost.cost_usd == Decimal(5 * 2**53 * 99_999_999_999_999).scaleb(-18, EXACT)


def test_a_cost_beyond_what_can_be_stored_is_refused() -> None:
    book = PriceBook.of([price(Rates(input=Rate(Decimal(10**19))))])
    with pytest.raises(
        PricingError, match=r"p m: Usage\(input_tokens=9007199254740992.* would cost 10\^20 USD or more"
    ):
        book.cost(Usage(2**53), "p", "m", 1)


@pytest.mark.parametrize(
    ("usage", "message"),
    [
        (Usage(-1), "input_tokens is -1: a count of tokens lies between 0 and 2^53"),
        (
            Usage(output_tokens=2**53 + 1),
            "output_tokens is 9007199254740993: a count of tokens lies between 0 and 2^53",
        ),
        (Usage(cached_input_tokens=1.0), "cached_input_tokens is 1.0: not a whole number of tokens"),  # type: ignore[arg-type]
        (Usage(reasoning_tokens=None), "reasoning_tokens is None: not a whole number of tokens"),  # type: ignore[arg-type]
        (Usage(cache_write_tokens=True), "cache_write_tokens is True: not a whole number of tokens"),
    ],
)
@pytest.mark.parametrize("model", ["m", "unpriced"])
def test_counts_that_cannot_be_are_refused_priced_or_not(usage: Usage, message: str, model: str) -> None:
    with pytest.raises(PricingError) as refused:
        PriceBook.of([price()]).cost(usage, "p", model, 1)
    assert str(refused.value) == message
    assert isinstance(refused.value, Rejected)
    assert isinstance(refused.value, ValueError)
    assert refused.value.reason == "pricing"


def test_the_version_in_force_at_the_time_holds_to_the_microsecond() -> None:
    first = price(from_us=10).versions[0]
    second = replace(price(Rates(input=Rate(Decimal(4)))).versions[0], version="v2", active_from_us=20)
    gone = PriceVersion("v3", 30, "a test", withdrawn=True)
    book = PriceBook.of([replace(price(), versions=(first, second, gone))])
    costs = [usd(book, Usage(1), at_us=at_us) for at_us in (9, 10, 19, 20, 29, 30, 10**15, 19, 9)]
    v1, v2 = "0.000003 v1", "0.000004 v2"
    assert costs == [None, v1, v1, v2, v2, None, None, v1, None]


def test_a_daily_interval_may_cross_midnight() -> None:
    night = ConditionalRates(Rates(input=Rate(Decimal(1))), daily_from_us=22 * HOUR_US, daily_until_us=6 * HOUR_US)
    version = replace(price().versions[0], prices=(ConditionalRates(INPUT_ONLY), night))
    book = PriceBook.of([replace(price(), versions=(version,))])
    day = 24 * HOUR_US * 20_000
    hours = (0, 6, 12, 22, 23)
    costs = [usd(book, Usage(1), at_us=day + hour * HOUR_US - before) for hour in hours for before in (1, 0)]
    low, high = "0.000001 v1", "0.000003 v1"
    assert costs == [low, low, low, high, high, high, high, low, low, low]


def test_the_price_of_the_organisation_goes_before_the_operators_and_that_before_the_list() -> None:
    listed = price(aliases=("m-2026",))
    ours = price(Rates(input=Rate(Decimal(2))), org_id=EVERY_ORG, version="all")
    acme = price(Rates(input=Rate(Decimal(1))), org_id="acme", version="acme")
    book = PriceBook.of([listed, ours, acme])
    for model in ("m", "M", "m-2026"):
        assert usd(book, Usage(1), model=model, org_id="acme") == "0.000001 acme"
        assert usd(book, Usage(1), model=model, org_id="other") == "0.000002 all"
        assert usd(book, Usage(1), model=model) == "0.000002 all"
    assert usd(PriceBook.of([listed, acme]), Usage(1), org_id="other") == "0.000003 v1"


def test_the_operator_may_price_what_no_list_has_and_name_it_by_alias() -> None:
    book = PriceBook.of([price(model="own", org_id=EVERY_ORG, aliases=("own-2",))])
    assert usd(book, Usage(1), model="own-2") == "0.000003 v1"
    assert usd(book, Usage(1), model="own-3") is None


def test_the_nearest_of_the_operators_names_wins() -> None:
    listed = price(aliases=("m-2026",))
    dated = price(Rates(input=Rate(Decimal(9))), model="m-2026", org_id=EVERY_ORG, version="dated")
    undated = price(Rates(input=Rate(Decimal(2))), org_id=EVERY_ORG, version="undated")
    book = PriceBook.of([listed, undated, dated])
    assert usd(book, Usage(1), model="m-2026") == "0.000009 dated"
    assert usd(book, Usage(1), model="m") == "0.000002 undated"


def test_a_withdrawn_price_of_the_operator_gives_way_to_the_list() -> None:
    ours = price(Rates(input=Rate(Decimal(2))), org_id=EVERY_ORG, version="ours", from_us=10)
    ours = replace(ours, versions=(*ours.versions, PriceVersion("end", 20, "a test", withdrawn=True)))
    book = PriceBook.of([price(), ours])
    assert [usd(book, Usage(1), at_us=at_us) for at_us in (9, 10, 20)] == [
        "0.000003 v1",
        "0.000002 ours",
        "0.000003 v1",
    ]


def test_a_record_read_later_replaces_the_one_of_its_key() -> None:
    book = PriceBook.of([price()])
    changed = book.with_record(price(Rates(input=Rate(Decimal(5))), version="v2"))
    assert usd(book, Usage(1)) == "0.000003 v1"
    assert usd(changed, Usage(1)) == "0.000005 v2"
    assert usd(changed.without(price_key("p", "m")), Usage(1)) is None
    assert changed.versions() == {"v2"}


def test_names_without_end_are_not_remembered_without_end() -> None:
    book = PriceBook.of([price()])
    for number in range(45_000):
        assert book.cost(Usage(1), "q", f"unknown-{number}", 1) is None
    assert len(book._segments) <= 20_000


def test_the_key_cannot_be_mistaken() -> None:
    keys = {
        price_key("a", "bc"),
        price_key("ab", "c"),
        price_key("a", "b", "c"),
        price_key("a", "b", ""),
        price_key("a", "b"),
    }
    assert len(keys) == 5
    assert price_key("a", "ü") == b"\0\0\0\1a\0\0\0\2\xc3\xbc"


def test_usage_is_read_from_a_completed_call() -> None:
    call = {
        "output_tokens": 4,
        "reasoning_tokens": 5,
        "input_tokens": 1,
        "cached_input_tokens": 2,
        "cache_write_tokens": 3,
        "model": "m",
    }
    assert usage_of(call) == Usage(1, 2, 3, 4, 5)


def test_a_change_of_price_needs_a_minutes_notice() -> None:
    assert effective_from_allowed(5 + NOTICE_US, 5)
    assert not effective_from_allowed(4 + NOTICE_US, 5)


@pytest.mark.parametrize(
    ("reported", "ours", "flagged"),
    [
        ("1.01", "1", False),
        ("1.0100001", "1", True),
        ("0.99", "1", False),
        ("0.98", "1", True),
        ("0.000001", "0", False),
        ("0.0000011", "0", True),
        (None, "1", False),
        ("1", None, False),
    ],
)
def test_a_reported_cost_is_flagged_beyond_the_tolerance(reported: str | None, ours: str | None, flagged: bool) -> None:
    reported_usd, ours_usd = (None if amount is None else Decimal(amount) for amount in (reported, ours))
    assert differs(reported_usd, ours_usd) is flagged


def test_a_tolerance_may_be_none_at_all() -> None:
    nothing = Tolerance(share=Decimal(0), amount_usd=Decimal(0))
    assert differs(Decimal("1.000000000000000001"), Decimal(1), nothing)
    assert not differs(Decimal("1.0"), Decimal(1), nothing)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda: Rate(Decimal(-1)), "a rate of -1 USD per million is no price"),
        (lambda: Rate(Decimal("nan")), "a rate of NaN USD per million is no price"),
        (lambda: Rate(Decimal("1e999999999")), "a rate of 1E+999999999 USD per million is no price"),
        (
            lambda: Rate(Decimal("1e-19")),
            "a rate of 1E-19 USD per million: 1E-19 does not fit decimal(38, 18)",
        ),
        (
            lambda: Rate(Decimal(1), ((5, Decimal(1)), (5, Decimal(2)))),
            "tiers must begin at ascending token counts, not [5, 5]",
        ),
        (
            lambda: NameMatch("REGEX", "("),
            "a price matches names by '(', no pattern: missing ), unterminated subpattern at position 0",
        ),
        (
            lambda: NameMatch("SOUNDS_LIKE", "x").matches("x"),
            "a price matches names by 'SOUNDS_LIKE', which this version does not know",
        ),
        (lambda: replace(price(), versions=price().versions * 2), "price of p m: versions must ascend by active_from"),
        (lambda: from_avro({"provider": "p"}), "no raw price record: KeyError: 'versions'"),
    ],
)
def test_records_that_break_a_rule_are_refused(broken: object, message: str) -> None:
    assert callable(broken)
    with pytest.raises(PriceRecordError) as refused:
        broken()
    assert str(refused.value) == message
    assert refused.value.reason == "price_record"
