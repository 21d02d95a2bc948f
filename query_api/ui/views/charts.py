"""Numbers as pictures: columns of hours, a line of a budget's spend. Coordinates only; the templates draw. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from procurator.query_api.models.budgets import BudgetStatusModel
from procurator.query_api.ui.formats import Clock


@dataclass(frozen=True)
class Column:
    """One hour: where it stands (percent), how high (percent of the highest), what it says."""

    left: float
    width: float
    height: float
    label: str
    begin: str
    end: str


def hours(rows: Sequence[dict[str, Any]], field: str, clock: Clock, since: datetime, show: Any) -> list[Column]:
    """Return a column for each hour from ``since`` until now; hours without a row are 0. ``show`` renders a value."""
    found = {row["hour_s"]: Decimal(row[field] or 0) for row in rows}
    begins = []
    moment = since.replace(minute=0, second=0, microsecond=0)
    while moment <= clock.now:
        begins.append(moment)
        moment += timedelta(hours=1)
    highest = max(found.values(), default=Decimal(0)) or Decimal(1)
    width = 100 / max(1, len(begins))
    columns = []
    for at, begin in enumerate(begins):
        value = found.get(int(begin.timestamp()), Decimal(0))
        end = begin + timedelta(hours=1)
        label = f"{clock.local(begin):%a %H:%M}: {show(value)}"
        # The first hour is counted from ``since`` on: its link asks for no more than that.
        asked = _instant(max(begin, since)), _instant(end)
        columns.append(Column(at * width, width, float(value / highest) * 100, label, *asked))
    return columns


def total(rows: Sequence[dict[str, Any]], field: str) -> Decimal:
    """Return the sum of a column, nulls being nothing."""
    return sum((Decimal(row[field] or 0) for row in rows), Decimal(0))


def spend_line(history: Sequence[BudgetStatusModel], width: int = 600, height: int = 120) -> str:
    """Return the points of the spend of one period over time, oldest first, for a polyline; empty without two."""
    if len(history) < 2:
        return ""
    newest_start = history[0].period_start
    points = [
        (datetime.fromisoformat(status.updated_at).timestamp(), Decimal(status.spent), Decimal(status.limit))
        for status in reversed(history)
        if status.period_start == newest_start
    ]
    if len(points) < 2:
        return ""
    first, last = points[0][0], points[-1][0]
    top = max(max(spent, limit) for _, spent, limit in points) or Decimal(1)
    span = max(last - first, 1.0)
    return " ".join(
        f"{(at - first) / span * width:.1f},{height - float(spent / top) * height:.1f}" for at, spent, _ in points
    )


def _instant(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
