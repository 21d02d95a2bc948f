"""The operator's file of prices: what it says, and errors that name line and field."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from procurator.clock import to_us
from procurator.errors import UserError
from procurator.price_changes import PastPriceChange, price_changes
from procurator.price_override_entry import OverrideError
from procurator.price_overrides import load, located, parse
from procurator.price_record import EVERY_ORG, Rate, Rates
from procurator.price_source import list_prices
from procurator.pricing import PriceBook, Usage

FULL = """\
version = "2026-12"   # the revision

[[price]]
provider = "openai"
model = "gpt-4o"
aliases = ["our-gpt"]
org_id = "acme"
active_from = 2026-12-01T00:00:00+01:00
active_until = 2027-01-01T00:00:00Z
source = "contract 4711"
usd_per_million = { input = 2.00, cached_input = 1, output = 8.00 }

[[price.tiers]]
above_input_tokens = 200000
usd_per_million = { input = 4.00, output = 12.00 }

[[price]]
provider = "own"
model = "llama"
[price.usd_per_million]
input = 0.100000000000000001
requests = 5000
"""
MINIMAL = 'version = "1"\n[[price]]\nprovider = "p"\nmodel = "m"\nusd_per_million = { input = 1 }\n'


def test_every_field_is_read() -> None:
    own, acme = parse(FULL)
    assert (own.org_id, own.provider, own.model) == (EVERY_ORG, "own", "llama")
    assert own.versions[0].prices[0].rates == Rates(
        input=Rate(Decimal("0.100000000000000001")), requests=Rate(Decimal(5000))
    )
    assert own.versions[0].source == "prices.toml 2026-12"
    first, end = acme.versions
    assert (acme.org_id, first.source, end.withdrawn) == ("acme", "contract 4711", True)
    assert first.active_from_us == to_us(datetime(2026, 11, 30, 23, tzinfo=UTC))
    assert end.active_from_us == to_us(datetime(2027, 1, 1, tzinfo=UTC))
    assert first.prices[0].rates.input == Rate(Decimal("2.00"), ((200_000, Decimal("4.00")),))
    assert first.prices[0].rates.cached_input == Rate(Decimal(1))


def test_versions_name_the_revision_and_the_content() -> None:
    versions = [parse(text)[0].versions[0].version for text in (MINIMAL, MINIMAL, MINIMAL.replace("= 1 ", "= 2 "))]
    assert versions[0] == versions[1] != versions[2]
    assert versions[0].startswith("operator-1+")


def test_prices_hold_for_names_that_the_list_resolves() -> None:
    book = PriceBook.of([*list_prices(), *parse(FULL)])
    in_december = to_us(datetime(2026, 12, 24, tzinfo=UTC))

    def version(model: str, org_id: str, at_us: int = in_december) -> str:
        cost = book.cost(Usage(1), "openai", model, at_us, org_id)
        assert cost is not None
        return cost.price_version.split("+")[0]

    for model in ("gpt-4o", "GPT-4o", "gpt-4o-2024-08-06", "our-gpt"):
        assert version(model, "acme") == "operator-2026-12"
    assert version("gpt-4o", "other").startswith("genai-prices-")
    assert version("gpt-4o", "acme", to_us(datetime(2026, 11, 1, tzinfo=UTC))).startswith("genai-prices-")
    assert version("gpt-4o", "acme", to_us(datetime(2027, 1, 1, tzinfo=UTC))).startswith("genai-prices-")


def test_prices_of_one_model_follow_one_another() -> None:
    later = (
        '[[price]]\nprovider = "P"\nmodel = "M"\nactive_from = 2027-01-01T00:00:00Z\nusd_per_million = { input = 2 }\n'
    )
    until = MINIMAL + "active_until = 2027-01-01T00:00:00Z\n"
    for text in (MINIMAL + later, until + later):
        (record,) = parse(text)
        assert [len(v.prices) for v in record.versions] == [1, 1]
    with pytest.raises(OverrideError, match=r"line 10, active_from: P M has another price at that time"):
        parse(until.replace("2027", "2028") + later)


def edit(old: str, new: str) -> str:
    assert old in FULL
    return FULL.replace(old, new, 1)


@pytest.mark.parametrize(
    ("text", "line", "field", "problem"),
    [
        (edit('"2026-12" ', "2026"), 1, "version", "must name this revision: 1 to 64 of A-Z a-z 0-9 . _ -"),
        ("[[price]]\n", 1, "version", "must name this revision: 1 to 64 of A-Z a-z 0-9 . _ -"),
        (edit('"openai"', '"openai'), 4, "", "no TOML: Illegal character '\\n' (at line 4, column 19)"),
        (edit('"openai"', '""'), 4, "provider", "must be a name of 1 to 256 characters, not ''"),
        (edit('model = "gpt-4o"', ""), 3, "model", "must be a name of 1 to 256 characters, not None"),
        (edit('"acme"', "7"), 7, "org_id", "must be a name of 1 to 256 characters, not 7"),
        (edit('["our-gpt"]', '"our-gpt"'), 6, "aliases", "must be a list of names"),
        (edit('"our-gpt"', "[]"), 6, "aliases", "must be a name of 1 to 256 characters, not []"),
        (
            edit("2026-12-01T00:00:00+01:00", "2026-12-01T00:00:00"),
            8,
            "active_from",
            "must be a time with a zone such as 2026-12-01T00:00:00Z, not 2026-12-01 00:00:00",
        ),
        (edit("2027-01-01T", "2026-11-01T"), 9, "active_until", "must be later than active_from"),
        (edit("2026-12-01T", "1969-12-01T"), 8, "active_from", "must be later than 1970"),
        (
            edit("source", "soruce"),
            10,
            "soruce",
            "unknown; a price has provider, model, aliases, org_id, active_from, active_until, source,"
            " usd_per_million, tiers",
        ),
        (edit("input = 2.00", "input = -2.00"), 11, "input", "a rate of -2.00 USD per million is no price"),
        (edit("input = 2.00", "input = nan"), 11, "input", "a rate of NaN USD per million is no price"),
        (edit("input = 2.00", 'input = "2"'), 11, "input", "must be a number of USD per million, not '2'"),
        (edit("input = 2.00", "input = true"), 11, "input", "must be a number of USD per million, not True"),
        (edit("input = 2.00, ", ""), 11, "cached_input", "needs a rate of input beside it"),
        (
            edit("cached_input", "cached"),
            11,
            "cached",
            "unknown; a rate is one of input, cached_input, cache_write, output, reasoning, requests",
        ),
        (edit("200000", "-1"), 14, "above_input_tokens", "must be a whole number from 0 to 2^53, not -1"),
        (edit("output = 12.00", "output = -1"), 15, "output", "a rate of -1 USD per million is no price"),
        (
            edit("output = 12.00", "reasoning = 1"),
            15,
            "reasoning",
            "has a rate in this tier, but none outside of it",
        ),
        (
            edit("above_input_tokens", "above"),
            14,
            "above",
            "unknown; a tier has above_input_tokens and usd_per_million",
        ),
        (
            edit(
                '\n[[price]]\nprovider = "own"',
                '[[price.tiers]]\nabove_input_tokens = 7\nusd_per_million = {input = 1}\n[[price]]\nprovider = "own"',
            ),
            17,
            "above_input_tokens",
            "must be more than in the tier before, 200000",
        ),
        (
            edit("[price.usd_per_million]\ninput = 0.100000000000000001\nrequests = 5000\n", ""),
            17,
            "usd_per_million",
            "must be rates such as { input = 2.5, output = 10 }; 0 is free",
        ),
        (
            edit("0.100000000000000001", "0.1000000000000000001"),
            21,
            "input",
            "a rate of 0.1000000000000000001 USD per million: 0.1000000000000000001 does not fit decimal(38, 18)",
        ),
        (edit("5000", "1e25"), 22, "requests", "a rate of 1E+25 USD per million is no price"),
        ('version = "1"\nprices = 1\n', 2, "prices", "unknown; the file has version and [[price]] tables"),
        ('version = "1"\nprice = [{}]\n', 2, "price", "write each price as a table [[price]]"),
        (
            MINIMAL + '[[price]]\nprovider = "P"\nmodel = "n"\naliases = ["M"]\nusd_per_million = { input = 2 }\n',
            9,
            "aliases",
            "'m' means 'm' already",
        ),
        (
            MINIMAL + MINIMAL.partition("\n")[2],
            6,
            "active_from",
            "p m has another price at that time",
        ),
    ],
)
def test_an_error_names_line_and_field(text: str, line: int, field: str, problem: str) -> None:
    with pytest.raises(OverrideError) as refused:
        parse(text)
    where = f"prices.toml, line {line}" + (f", {field}" if field else "")
    assert str(refused.value) == f"{where}: {problem}; the prices before stay in force"
    assert (refused.value.line, refused.value.field) == (line, field)
    assert isinstance(refused.value, UserError)


@pytest.mark.parametrize(
    ("field", "line", "now"), [("active_from", 8, datetime(2026, 12, 5, tzinfo=UTC)), ("active_until", 9, None)]
)
def test_a_time_that_comes_too_late_is_found_in_the_file(field: str, line: int, now: datetime | None) -> None:
    text = FULL if field == "active_from" else FULL.replace("active_from", "#")
    now_us = to_us(now or datetime(2027, 2, 1, tzinfo=UTC))
    with pytest.raises(PastPriceChange) as late:
        price_changes(PriceBook.of(list_prices()), list_prices(), parse(text), now_us)
    error = located(late.value, text, "prices.toml")
    assert (error.line, error.field) == (line, field)
    assert str(error) == (
        f"prices.toml, line {line}, {field}: begins or ends in the past or within 60 s, where calls have been priced"
        " already: leave the time out, or set it at least 60 s ahead; the prices before stay in force"
    )


@pytest.mark.parametrize("text", ["x = " + "[" * 5000, "x = " + "9" * 5000, "x = 1e"])
def test_no_raw_error_reaches_the_user(text: str) -> None:
    with pytest.raises(OverrideError, match="no TOML"):
        parse(text)


def test_a_file_is_read_from_disk(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(MINIMAL)
    assert load(file)[0].versions[0].source == "prices.toml 1"


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    with pytest.raises(UserError, match=r"prices\.toml: cannot read the file of prices: No such file or directory$"):
        load(file)
    file.write_bytes(MINIMAL.encode() + b"# \xff")
    with pytest.raises(OverrideError, match=r"prices\.toml, line 6: not UTF-8; the prices before stay in force$"):
        load(file)
    file.write_bytes(b"#" * (4 * 2**20 + 1))
    with pytest.raises(OverrideError, match=r"prices\.toml, line 1: larger than 4194304 bytes"):
        load(file)
