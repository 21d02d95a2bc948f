"""Time at the edges: aware UTC, and microseconds since the epoch as the wire has them."""

import time
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now_us() -> int:
    """Return microseconds since the epoch, by this machine's clock."""
    return time.time_ns() // 1000


def to_us(moment: datetime) -> int:
    """Return microseconds since the epoch of an aware datetime, exactly. Raises ValueError when it is naive."""
    if moment.tzinfo is None:
        raise ValueError("a datetime without a time zone has no place on the wire")
    return (moment - EPOCH) // timedelta(microseconds=1)


def from_us(us: int) -> datetime:
    """Return the aware UTC datetime of microseconds since the epoch."""
    return EPOCH + timedelta(microseconds=us)


def to_rfc3339(us: int) -> str:
    """Return RFC 3339 text in UTC with microseconds: ``2026-11-22T16:08:00.000000Z``."""
    return from_us(us).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
