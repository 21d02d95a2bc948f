"""Periods of a budget: half-open intervals of µs that begin at midnight in an IANA time zone. Pure.

A week begins on Monday (ISO 8601). Midnight that does not exist (clocks go forward over it) is the instant of the
change; midnight that exists twice is the first. So periods follow one another without hole or overlap.
"""

from datetime import date, datetime, timedelta
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from procurator.clock import from_us, to_us

DAY = "DAY"
WEEK = "WEEK"
MONTH = "MONTH"
LIFETIME = "LIFETIME"
PERIODS = (DAY, WEEK, MONTH, LIFETIME)

#: How far an emitter's clock may lie from the broker's before the broker's is believed.
SKEW_US_MAX = 300_000_000
_REMEMBERED = 4


class Period(NamedTuple):
    """[start_us, end_us); ``end_us`` None is never, then ``start_us`` is 0."""

    start_us: int
    end_us: int | None

    def holds(self, at_us: int) -> bool:
        return self.start_us <= at_us and (self.end_us is None or at_us < self.end_us)


ALWAYS = Period(0, None)


def charged_at(occurred_at_us: int, broker_time_us: int) -> int:
    """Return the instant whose period an event counts in: when it occurred, within ± 5 min of its broker time."""
    return min(max(occurred_at_us, broker_time_us - SKEW_US_MAX), broker_time_us + SKEW_US_MAX)


class PeriodFinder:
    """Finds the period of an instant; remembers the last few, since nearly every instant is in one of them."""

    def __init__(self, kind: str, time_zone: str) -> None:
        self._kind = kind
        self._zone = None if kind == LIFETIME else ZoneInfo(time_zone)
        self._recent: list[Period] = [ALWAYS] if kind == LIFETIME else []

    def at(self, at_us: int) -> Period:
        for period in self._recent:
            if period.holds(at_us):
                return period
        period = self._find(at_us)
        self._recent.insert(0, period)
        del self._recent[_REMEMBERED:]
        return period

    def _find(self, at_us: int) -> Period:
        day = from_us(at_us).astimezone(self._zone).date()
        if self._kind == DAY:
            first, after = day, day + timedelta(days=1)
        elif self._kind == WEEK:
            first = day - timedelta(days=day.weekday())
            after = first + timedelta(days=7)
        else:
            first = day.replace(day=1)
            after = (first + timedelta(days=31)).replace(day=1)
        return Period(self._midnight(first), self._midnight(after))

    def _midnight(self, day: date) -> int:
        # fold=0: the earlier of two midnights, and where there is none, the instant at which clocks skip it.
        return to_us(datetime(day.year, day.month, day.day, tzinfo=self._zone, fold=0))


def known_time_zone(name: str) -> bool:
    """Tell whether this machine knows the IANA time zone."""
    return name in _time_zones()


@cache
def _time_zones() -> frozenset[str]:
    return frozenset(available_timezones())
