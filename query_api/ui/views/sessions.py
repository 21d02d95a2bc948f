"""The list of sessions: filters as chips and addresses, columns that sort, facets that narrow. Pure.

Every state of the page is in its address, and every filter in its ``q``: what is picked in the form becomes a term of
the query language, so that people can read it, change it and pass it on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from procurator.query_api.queries.sessions import Order, Sort
from procurator.query_api.search import SearchError, SessionFilter, parse, render
from procurator.query_api.search.filter import Term
from procurator.query_api.search.terms import AnyOf, Compare, Operator, ToolEnded

STARTED = "started"
#: Columns of the table that sort: title, name of the order, whether numbers stand in it.
_COLUMNS = (
    ("Started", STARTED, False),
    ("Duration", "duration", True),
    ("Turns", "turns", True),
    ("Tokens", "tokens", True),
    ("Cost", "cost", True),
)
_VALUES_SHOWN = 8
_FAILED = ("ERROR", "TIMEOUT")
_FACETS = {"status": "Status", "agent": "Agent", "owner_team": "Team", "model": "Model", "tool": "Tool"}


@dataclass(frozen=True)
class Chip:
    """One term of the search, and the address of the list without it."""

    text: str
    without: str


@dataclass(frozen=True)
class Head:
    """One column that may sort; ``href`` None where it may not."""

    title: str
    numeric: bool
    href: str | None
    direction: str | None


@dataclass(frozen=True)
class FacetValue:
    """One value with its count, and the address of the list that it narrows to."""

    name: str
    count: int
    href: str


@dataclass(frozen=True)
class Facet:
    """Counts by one field."""

    title: str
    values: list[FacetValue]


def address(search: SessionFilter, sort: str = "", cursor: str | None = None) -> str:
    """Return the address of the list of a search."""
    parameters = {"q": render(search), "sort": sort, "cursor": cursor or ""}
    query = urlencode({name: value for name, value in parameters.items() if value})
    return f"/sessions?{query}" if query else "/sessions"


def listed(text: str = "", sort: str = "", **names: str) -> str:
    """Return the address of the list of what ``text`` asks, of sessions with exactly these values."""
    return address(SessionFilter.of(**names) & parse(text), sort)


def failing(tool: str, text: str) -> str:
    """Return the address of the list of what ``text`` asks, of sessions in which a call of ``tool`` failed."""
    return address(SessionFilter((ToolEnded(tool, _FAILED),)) & parse(text))


def chips(search: SessionFilter, sort: str) -> list[Chip]:
    """Return a chip for each term."""
    return [
        Chip(render(SessionFilter((term,))), address(SessionFilter(_others(search, term)), sort))
        for term in search.terms
    ]


def sorting(sort: str) -> tuple[Sort, Order]:
    """Return what ``cost`` or ``-cost`` asks for; newest start first for what is neither."""
    name = sort.removeprefix("-")
    if name not in tuple(Sort):
        return Sort.STARTED, Order.DESC
    return Sort(name), Order.DESC if sort.startswith("-") else Order.ASC


def heads(search: SessionFilter, sort: str) -> list[Head]:
    """Return the columns; the one that sorts already turns round."""
    current, order = sorting(sort)
    found = []
    for title, name, numeric in _COLUMNS:
        if name not in tuple(Sort):
            found.append(Head(title, numeric, None, None))
            continue
        is_current = name == current
        following = name if is_current and order is Order.DESC else f"-{name}"
        direction = ("ascending" if order is Order.ASC else "descending") if is_current else None
        found.append(Head(title, numeric, address(search, following), direction))
    return found


def facets(search: SessionFilter, sort: str, counts: Mapping[str, list[dict[str, Any]]]) -> list[Facet]:
    """Return the facets that narrow the search: the most frequent values, as links."""
    found = []
    for name, title in _FACETS.items():
        values = [
            FacetValue(str(row["value"]), row["sessions"], address(_narrowed(search, name, str(row["value"])), sort))
            for row in counts.get(name, ())[:_VALUES_SHOWN]
            if row["value"]
        ]
        if values:
            found.append(Facet(title, values))
    return found


def days(first: str, last: str, zone: ZoneInfo) -> SessionFilter:
    """Return the sessions that started from one day to another, both included, as days are in ``zone``.

    Raises SearchError for what is no date.
    """
    terms: list[Term] = []
    if first:
        terms.append(Compare(STARTED, Operator.FROM, _midnight("day_from", first, zone)))
    if last:
        terms.append(Compare(STARTED, Operator.BELOW, _midnight("day_to", last, zone, days_later=1)))
    return SessionFilter(tuple(terms))


def _midnight(field: str, text: str, zone: ZoneInfo, days_later: int = 0) -> datetime:
    try:
        day = datetime.strptime(text, "%Y-%m-%d").date() + timedelta(days=days_later)  # noqa: DTZ007 — a mere date
        return datetime.combine(day, time.min, zone).astimezone(ZoneInfo("UTC"))
    except (ValueError, OverflowError):
        raise SearchError(field, f"{text[:40]!r} is not a date", "2026-11-22") from None


def _narrowed(search: SessionFilter, name: str, value: str) -> SessionFilter:
    kept = tuple(term for term in search.terms if not (isinstance(term, AnyOf) and term.field == name))
    return SessionFilter((*kept, AnyOf(name, (value,))))


def _others(search: SessionFilter, left_out: Term) -> tuple[Term, ...]:
    return tuple(term for term in search.terms if term is not left_out)
