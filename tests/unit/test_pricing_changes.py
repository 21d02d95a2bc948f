"""Which price records are published: changes a minute ahead, history as it stands."""

from dataclasses import replace
from decimal import Decimal

import pytest

from procurator.errors import UserError
from procurator.price_changes import PastPriceChange, price_changes
from procurator.price_record import EVERY_ORG, ConditionalRates, PriceRecord, PriceVersion, Rate, Rates
from procurator.pricing import NOTICE_US, PriceBook, Usage

NOW_US = 1_800_000_000_000_000
SOON_US = NOW_US + NOTICE_US + 30_000_000


def record(usd: int, *, model: str = "m", org_id: str | None = None, from_us: int = 0) -> PriceRecord:
    rates = ConditionalRates(Rates(input=Rate(Decimal(usd))))
    return PriceRecord("p", model, org_id, (PriceVersion(f"v{usd}", from_us, "a test", prices=(rates,)),))


def history(book: PriceBook, changes: list[PriceRecord]) -> list[tuple[str, int]]:
    (changed,) = changes
    assert book.with_record(changed).records
    return [(version.version, version.active_from_us) for version in changed.versions]


def test_a_new_cluster_takes_all_prices_as_they_are() -> None:
    listed, ours = record(1), record(2, org_id="acme", from_us=NOW_US - 5)
    assert price_changes(PriceBook(), [listed], [ours], NOW_US) == [listed, ours]


def test_nothing_is_published_when_the_topic_says_it_all() -> None:
    listed, ours = record(1), record(2, org_id="acme", from_us=NOW_US - 5)
    book = PriceBook.of([listed, ours])
    renamed = replace(listed, versions=(replace(listed.versions[0], version="other", source="a new release"),))
    assert price_changes(book, [renamed], [ours], NOW_US) == []


def test_a_change_is_appended_and_holds_after_the_notice() -> None:
    book = PriceBook.of([record(1)])
    assert history(book, price_changes(book, [record(2)], [], NOW_US)) == [("v1", 0), ("v2", SOON_US)]


def test_a_change_on_its_way_is_not_put_off_by_the_next_run() -> None:
    book = PriceBook.of([record(1)])
    book = book.with_records(price_changes(book, [record(2)], [], NOW_US))
    for later_us in (NOW_US + 10_000_000, NOW_US + 80_000_000, NOW_US + 10**10):
        assert price_changes(book, [record(2)], [], later_us) == []


def test_a_change_on_its_way_may_be_taken_back_in_time_but_not_later() -> None:
    book = PriceBook.of([record(1)])
    book = book.with_records(price_changes(book, [record(2)], [], NOW_US))
    assert history(book, price_changes(book, [record(1)], [], NOW_US + 1)) == [("v1", 0)]
    late_us = SOON_US - NOTICE_US + 1
    again = price_changes(book, [record(1)], [], late_us)
    assert history(book, again) == [("v1", 0), ("v2", SOON_US), ("v1", late_us + NOTICE_US + 30_000_000)]


def test_a_new_model_is_priced_after_the_notice_and_a_vanished_one_is_withdrawn() -> None:
    book = PriceBook.of([record(1)])
    gone, new = price_changes(book, [record(1, model="n")], [], NOW_US)
    assert [(v.version, v.active_from_us, v.withdrawn) for v in gone.versions] == [
        ("v1", 0, False),
        ("v1-withdrawn", SOON_US, True),
    ]
    assert [(v.version, v.active_from_us) for v in new.versions] == [("v1", SOON_US)]
    book = book.with_records([gone, new])
    assert price_changes(book, [record(1, model="n")], [], NOW_US + 10**9) == []
    assert book.cost(Usage(1), "p", "m", SOON_US - 1) is not None
    assert book.cost(Usage(1), "p", "m", SOON_US) is None


def test_without_a_readable_file_the_operators_prices_stay() -> None:
    book = PriceBook.of([record(1), record(2, org_id=EVERY_ORG)])
    assert price_changes(book, [record(1)], None, NOW_US) == []
    (gone,) = price_changes(book, [record(1)], [], NOW_US)
    assert gone.versions[-1].withdrawn


def test_a_price_for_the_past_is_refused_and_nothing_published() -> None:
    book = PriceBook.of([record(1)])
    for from_us in (NOW_US - 10**12, NOW_US, NOW_US + NOTICE_US - 1):
        with pytest.raises(PastPriceChange) as refused:
            price_changes(book, [record(1)], [record(2, org_id="acme", from_us=from_us)], NOW_US)
        assert isinstance(refused.value, UserError)
        assert str(refused.value) == (
            "price v2 of p m of organisation acme begins or ends in the past or within 60 s, where calls have been"
            " priced already: leave the time out, or set it at least 60 s ahead"
        )
    assert price_changes(book, [record(1)], [record(2, org_id="acme", from_us=NOW_US + NOTICE_US)], NOW_US)


def test_a_price_that_was_in_force_cannot_be_rewritten() -> None:
    ours = record(2, org_id="acme", from_us=NOW_US - 5)
    book = PriceBook.of([record(1), ours])
    with pytest.raises(PastPriceChange):
        price_changes(book, [record(1)], [record(3, org_id="acme", from_us=NOW_US - 5)], NOW_US)


def test_dated_prices_stand_and_the_next_ones_follow() -> None:
    first, second = record(1, org_id="acme").versions[0], record(2, from_us=SOON_US + 7).versions[0]
    ours = PriceRecord("p", "m", "acme", (first, second))
    book = PriceBook.of([record(1)])
    changes = price_changes(book, [record(1)], [ours], NOW_US)
    assert history(book, changes) == [("v1", SOON_US), ("v2", SOON_US + 7)]
    book = book.with_records(changes)
    for later_us in (NOW_US + 1, SOON_US, SOON_US + 8, SOON_US + 10**12):
        assert price_changes(book, [record(1)], [ours], later_us) == []
