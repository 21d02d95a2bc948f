"""`procurator.budgets.periods`: midnights of real time zones, those that do not exist and those that do twice."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from procurator.budgets import Period, PeriodFinder, charged_at
from procurator.clock import from_us, to_us

MINUTE_US = 60_000_000


def at(text: str, zone: str = "UTC") -> int:
    return to_us(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)))


@pytest.mark.parametrize(
    ("kind", "zone", "moment", "start", "end"),
    [
        ("DAY", "UTC", "2026-11-22T16:00", "2026-11-22T00:00", "2026-11-23T00:00"),
        ("WEEK", "UTC", "2026-11-22T16:00", "2026-11-16T00:00", "2026-11-23T00:00"),
        ("MONTH", "UTC", "2026-12-31T23:59", "2026-12-01T00:00", "2027-01-01T00:00"),
        ("DAY", "Asia/Kathmandu", "2026-11-22T18:20", "2026-11-22T18:15", "2026-11-23T18:15"),
        # Clocks go forward: a day of 23 hours; back: of 25.
        ("DAY", "Europe/Zurich", "2026-03-29T12:00", "2026-03-28T23:00", "2026-03-29T22:00"),
        ("DAY", "Europe/Zurich", "2026-10-25T12:00", "2026-10-24T22:00", "2026-10-25T23:00"),
        ("MONTH", "America/New_York", "2026-03-15T00:00", "2026-03-01T05:00", "2026-04-01T04:00"),
        # No midnight: in Beirut clocks go from 00:00 to 01:00.
        ("DAY", "Asia/Beirut", "2026-03-29T12:00", "2026-03-28T22:00", "2026-03-29T21:00"),
        # Two midnights: in Havana clocks go from 01:00 back to 00:00.
        ("DAY", "America/Havana", "2026-11-01T12:00", "2026-11-01T04:00", "2026-11-02T05:00"),
        # A day that was skipped: Samoa had no 30 December 2011.
        ("DAY", "Pacific/Apia", "2011-12-30T09:00", "2011-12-29T10:00", "2011-12-30T10:00"),
    ],
)
def test_a_period_begins_at_midnight_there(kind: str, zone: str, moment: str, start: str, end: str) -> None:
    assert PeriodFinder(kind, zone).at(at(moment)) == Period(at(start), at(end))


def test_lifetime_has_no_end() -> None:
    assert PeriodFinder("LIFETIME", "UTC").at(at("2026-11-22T16:00")) == Period(0, None)


def test_a_period_holds_its_start_and_not_its_end() -> None:
    finder = PeriodFinder("DAY", "Europe/Zurich")
    day = finder.at(at("2026-11-22T16:00"))
    assert day.end_us is not None
    assert finder.at(day.start_us) == day
    assert finder.at(day.end_us - 1) == day
    assert finder.at(day.end_us).start_us == day.end_us


@pytest.mark.parametrize(("skew_min", "charged_min"), [(-60, -5), (-5, -5), (-1, -1), (0, 0), (5, 5), (600, 5)])
def test_an_emitters_clock_is_believed_within_five_minutes(skew_min: int, charged_min: int) -> None:
    broker_us = at("2026-11-22T16:00")
    charged = charged_at(broker_us + skew_min * MINUTE_US, broker_us)
    assert charged == broker_us + charged_min * MINUTE_US, from_us(charged)
