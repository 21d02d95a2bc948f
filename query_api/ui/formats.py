"""Numbers, money, times and names as people read them. Pure; the templates use these as filters.

``static/format.js`` says the same of values that arrive while a page is open; a browser test compares the two.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import orjson

DASH = "–"
_MINUS = "−"


def integer(value: int | str | None) -> str:
    """Return ``12,345``."""
    return DASH if value is None else f"{int(value):,}"


def compact(value: int | None) -> str:
    """Return ``950``, ``1.2k``, ``3.4M``: for places where the exact number is beside or on hover."""
    if value is None:
        return DASH
    for unit, name in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= unit:
            return f"{value / unit:.1f}".removesuffix(".0") + name
    return str(value)


def money(usd: str | Decimal | None) -> str:
    """Return dollars with as many digits as tell something: ``$12.30``, ``$0.0042``, ``<$0.0001``."""
    if usd is None:
        return DASH
    value = Decimal(usd)
    if value < 0:
        return _MINUS + money(-value)
    if value == 0:
        return "$0.00"
    if value < Decimal("0.0001"):
        return "<$0.0001"
    places = Decimal("0.0001") if value < 1 else Decimal("0.01")
    return f"${value.quantize(places, ROUND_HALF_UP):,f}"


def exact_money(usd: str | Decimal | None) -> str:
    """Return every digit, for hovers and the cost page."""
    if usd is None:
        return DASH
    text = f"{Decimal(usd):f}"
    return "$" + (text.rstrip("0").rstrip(".") if "." in text else text)


def duration(ms: float | None) -> str:
    """Return ``840 ms``, ``4.2 s``, ``3 min 12 s``, ``2 h 05 min``, ``3 d 4 h``."""
    if ms is None:
        return DASH
    if 0 < ms < 1:
        return "<1 ms"
    if ms < 1_000:
        return f"{ms:.0f} ms"
    seconds = ms / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < 3_600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def size(count: int | None) -> str:
    """Return bytes as ``512 B``, ``1.4 kB``, ``3.0 MB``."""
    if count is None:
        return DASH
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} B"


def readable_json(value: Any) -> str:
    """Return a JSON value as people read it, indented."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def percent(part: Decimal | float, whole: Decimal | float) -> str:
    """Return ``82%``; a dash when the whole is nothing."""
    return DASH if not whole else f"{float(part) / float(whole) * 100:.0f}%"


@dataclass(frozen=True)
class Clock:
    """The viewer's time zone and the moment the page is made."""

    zone: ZoneInfo
    now: datetime

    @classmethod
    def of(cls, zone_name: str | None, now: datetime | None = None) -> "Clock":
        """Return the clock of an IANA zone, of UTC when there is no such zone."""
        try:
            zone = ZoneInfo(zone_name or "UTC")
        except (ZoneInfoNotFoundError, ValueError, OSError):
            zone = ZoneInfo("UTC")
        return cls(zone, now or datetime.now(UTC))

    def local(self, time: str | datetime) -> datetime:
        """Return an RFC 3339 time in the viewer's zone."""
        moment = datetime.fromisoformat(time) if isinstance(time, str) else time
        return moment.astimezone(self.zone)

    def absolute(self, time: str | None) -> str:
        """Return ``2026-11-22 16:08:05 CET``, to the second, with the zone."""
        if time is None:
            return DASH
        local = self.local(time)
        return f"{local:%Y-%m-%d %H:%M:%S} {local.tzname()}"

    def time_of_day(self, time: str | None) -> str:
        """Return ``16:08:05``, with the date in front when it is not today's."""
        if time is None:
            return DASH
        local = self.local(time)
        today = local.date() == self.local(self.now).date()
        return f"{local:%H:%M:%S}" if today else f"{local:%d %b %H:%M:%S}"

    def relative(self, time: str | None) -> str:
        """Return ``3 minutes ago``; within ten seconds ``just now``."""
        if time is None:
            return DASH
        seconds = (self.now - datetime.fromisoformat(time)) // timedelta(seconds=1)
        if seconds < 10:
            return "just now"
        for unit, name in ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")):
            count = seconds // unit
            if count:
                return f"{count} {name}{'' if count == 1 else 's'} ago"
        return "just now"

    def elapsed_ms(self, since: str | None) -> float | None:
        """Return milliseconds from ``since`` until now, at least 0."""
        if since is None:
            return None
        return max(0.0, (self.now - datetime.fromisoformat(since)) / timedelta(milliseconds=1))
