"""The waterfall: each call as a bar on the session's time axis. Pure."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

SPANS_MAX = 300
_MS = 1000.0


@dataclass(frozen=True)
class Bar:
    """One call. ``left`` and ``width`` are percentages of the axis."""

    kind: str
    name: str
    status: str
    turn: int | None
    left: float
    width: float
    offset_ms: float
    took_ms: float | None
    cost: str | None
    tokens: int
    message: str | None
    open: bool
    #: Where the call's first record stands.
    log_id: str
    offset: int


@dataclass(frozen=True)
class Waterfall:
    """The bars, the axis they stand on, and where time went."""

    bars: list[Bar]
    total_ms: float
    model_ms: float
    tool_ms: float
    ticks: list[tuple[float, float]]


def waterfall(rows: list[dict[str, Any]], started_at: str | None, ended_at: str | None, until: datetime) -> Waterfall:
    """Return the waterfall of spans (see `Spans`); an open call reaches to ``until``: now, or the session's end."""
    spans = [_span(row, until) for row in rows]
    moments = [moment for begin, end, _ in spans for moment in (begin, end)]
    if started_at:
        moments.append(datetime.fromisoformat(started_at))
    if ended_at and rows:
        moments.append(datetime.fromisoformat(ended_at))
    if not moments:
        return Waterfall([], 0.0, 0.0, 0.0, [])
    origin, end = min(moments), max(moments)
    total_ms = max((end - origin).total_seconds() * _MS, 1.0)
    bars = [_bar(row, begin, end, took, origin, total_ms) for row, (begin, end, took) in zip(rows, spans, strict=True)]
    ticks = [(total_ms * part / 4, 25.0 * part) for part in range(5)]
    return Waterfall(bars, total_ms, _sum(bars, "model"), _sum(bars, "tool"), ticks)


def _span(row: dict[str, Any], until: datetime) -> tuple[datetime, datetime, float | None]:
    """Return begin, end and milliseconds; what was not recorded follows from the rest."""
    latency: float | None = row["latency"]
    begin = datetime.fromisoformat(row["began"]) if row["starts"] else None
    end = datetime.fromisoformat(row["ended"]) if row["completions"] else None
    if begin is None:
        begin = end or until
    if end is None:
        return begin, max(begin, until), None
    took = latency if latency is not None else max(0.0, (end - begin).total_seconds() * _MS)
    return begin, max(begin, end), took


def _bar(
    row: dict[str, Any], begin: datetime, end: datetime, took: float | None, origin: datetime, total_ms: float
) -> Bar:
    left = (begin - origin).total_seconds() * _MS / total_ms * 100
    width = (end - begin).total_seconds() * _MS / total_ms * 100
    return Bar(
        kind="model" if row["is_model"] else "tool",
        name=(row["model_name"] if row["is_model"] else row["tool"]) or "–",
        status=row["call_status"],
        turn=row["turn"],
        left=round(min(left, 99.7), 3),
        width=round(max(width, 0.3), 3),
        offset_ms=(begin - origin).total_seconds() * _MS,
        took_ms=took,
        cost=None if row["cost"] is None or not Decimal(row["cost"]) else row["cost"],
        tokens=row["tokens"],
        message=row["message"],
        open=not row["completions"],
        log_id=row["log"],
        offset=row["place"],
    )


def _sum(bars: list[Bar], kind: str) -> float:
    return sum(bar.took_ms or 0.0 for bar in bars if bar.kind == kind)
