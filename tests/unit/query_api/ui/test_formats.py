"""Numbers and times as the pages say them."""

from datetime import UTC, datetime

import pytest

from procurator.query_api.ui import formats
from procurator.query_api.ui.formats import Clock

_NOW = datetime(2026, 11, 22, 19, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        (None, "–"),
        ("0", "$0.00"),
        ("0.00000001", "<$0.0001"),
        ("0.00012", "$0.0001"),
        ("0.5", "$0.5000"),
        ("1234.5", "$1,234.50"),
        ("-0.25", "−$0.2500"),
    ],
)
def test_money(usd: str | None, text: str) -> None:
    assert formats.money(usd) == text


def test_exact_money_keeps_every_digit() -> None:
    assert formats.exact_money("0.000000000000000001") == "$0.000000000000000001"
    assert formats.exact_money("12.500000") == "$12.5"
    assert formats.exact_money("100") == "$100"


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (None, "–"),
        (0, "0 ms"),
        (0.4, "<1 ms"),
        (840.4, "840 ms"),
        (4200, "4.2 s"),
        (192_000, "3 min 12 s"),
        (7_500_000, "2 h 05 min"),
        (277_200_000, "3 d 5 h"),
    ],
)
def test_duration(ms: float | None, text: str) -> None:
    assert formats.duration(ms) == text


@pytest.mark.parametrize(("value", "text"), [(950, "950"), (1_200, "1.2k"), (3_000_000, "3M"), (None, "–")])
def test_compact(value: int | None, text: str) -> None:
    assert formats.compact(value) == text


def test_times_are_those_of_the_viewers_zone() -> None:
    clock = Clock.of("Europe/Zurich", _NOW)
    assert clock.absolute("2026-11-22T16:08:05.000000Z") == "2026-11-22 17:08:05 CET"
    assert clock.time_of_day("2026-11-22T16:08:05.000000Z") == "17:08:05"
    assert clock.time_of_day("2026-11-20T16:08:05.000000Z") == "20 Nov 17:08:05"


def test_a_zone_that_does_not_exist_is_utc() -> None:
    for name in ("Nowhere/Atlantis", "../../etc/passwd", "", None):
        assert Clock.of(name, _NOW).zone.key == "UTC"


@pytest.mark.parametrize(
    ("time", "text"),
    [
        ("2026-11-22T18:59:55Z", "just now"),
        ("2026-11-22T18:59:30Z", "30 seconds ago"),
        ("2026-11-22T18:57:00Z", "3 minutes ago"),
        ("2026-11-22T17:59:00Z", "1 hour ago"),
        ("2026-11-20T18:00:00Z", "2 days ago"),
        ("2026-11-23T18:00:00Z", "just now"),
    ],
)
def test_relative(time: str, text: str) -> None:
    assert Clock.of("UTC", _NOW).relative(time) == text
