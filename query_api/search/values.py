"""Values as people write them in a search, and back: numbers, durations, instants. Pure.

Every parser raises ValueError with what is wrong; a printer's text parses to the same value again.
"""

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from procurator.clock import to_rfc3339, to_us

#: Beyond this no session goes; it keeps every bound value inside the types of the columns.
COUNT_MAX = 10**15
_NUMBER = re.compile(r"(\d{1,16})(\.\d{1,18})?", re.ASCII).fullmatch
_DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)(ms|s|m|h|d)?", re.ASCII).fullmatch
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII).fullmatch
_US = {"ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


def number(text: str) -> Decimal:
    """Return a number ≥ 0 with up to 18 decimal places."""
    if not _NUMBER(text) or (value := Decimal(text)) > COUNT_MAX:
        raise ValueError(f"{text!r} is not a number from 0 to {COUNT_MAX:,}")
    return value


def count(text: str) -> int:
    """Return a whole number ≥ 0."""
    value = number(text)
    if value != value.to_integral_value():
        raise ValueError(f"{text!r} is not a whole number")
    return int(value)


def duration_us(text: str) -> int:
    """Return microseconds: ``250ms``, ``30s``, ``5m``, ``2h``, ``1d``; without a unit it is seconds."""
    match = _DURATION(text)
    if match is None or (us := Decimal(match[1]) * _US[match[2] or "s"]) > COUNT_MAX * 1_000:
        raise ValueError(f"{text!r} is not a duration")
    return int(us)


def instant(text: str) -> datetime:
    """Return an instant in UTC: RFC 3339, or a date, which is its midnight. Without a zone it is UTC."""
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is not a date or time") from None
    if not _FIRST <= moment < _LAST:
        raise ValueError(f"{text!r} lies outside the years 1970 to 2199")
    return moment


def day(text: str) -> tuple[datetime, datetime] | None:
    """Return the day that a date names, from its midnight up to the next; None when ``text`` is no mere date."""
    if not _DATE(text):
        return None
    first = instant(text)
    return first, first + timedelta(days=1)


def print_number(value: Decimal) -> str:
    """Return a number without an exponent."""
    return f"{value:f}"


def print_duration(us: int) -> str:
    """Return a duration in its shortest form."""
    for unit in ("d", "h", "m", "s"):
        if us and us % _US[unit] == 0:
            return f"{us // _US[unit]}{unit}"
    return f"{Decimal(us).scaleb(-3):f}ms"


def print_instant(moment: datetime) -> str:
    """Return a date for a midnight, else RFC 3339."""
    midnight = datetime.combine(date(moment.year, moment.month, moment.day), datetime.min.time(), UTC)
    return f"{moment:%Y-%m-%d}" if moment == midnight else to_rfc3339(to_us(moment))
