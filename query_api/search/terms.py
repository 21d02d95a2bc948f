"""What a search is made of: each term is one condition, and all of a search's terms must hold. Pure.

A term renders to SQL over the table ``sessions`` with every value bound; what only the events show is a subquery over
them, in the same scope. Text has a file of its own (`procurator.query_api.search.text`).
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from operator import ge, gt, le, lt
from typing import Any

from procurator import session_flags
from procurator.clock import to_us
from procurator.query_api.queries.base import Statement
from procurator.query_api.search.fields import MARKS, MEASURES, NAMES, UNKNOWN, Amount, Record


class Operator(StrEnum):
    """How a measure is compared."""

    ABOVE = ">"
    FROM = ">="
    BELOW = "<"
    TO = "<="


_COMPARE = {Operator.ABOVE: gt, Operator.FROM: ge, Operator.BELOW: lt, Operator.TO: le}
_MIRRORED = {
    Operator.ABOVE: Operator.BELOW,
    Operator.FROM: Operator.TO,
    Operator.BELOW: Operator.ABOVE,
    Operator.TO: Operator.FROM,
}


@dataclass(frozen=True)
class AnyOf:
    """The session has one of the values; with a name whose values are keyed, one of the keys."""

    field: str
    values: tuple[str, ...]
    negated: bool = False

    def condition(self, statement: Statement) -> str:
        """Return the SQL."""
        name = NAMES[self.field]
        values = statement.value("Array(UUID)" if name.is_uuid else "Array(String)", self.values)
        if self.field == "label":
            found = f"hasAny(mapKeys(labels), {values})"
        elif name.many:
            found = f"hasAny({name.column}, {values})"
        else:
            found = f"ifNull({name.column} IN {values}, false)"
        return _unless(self.negated, found)

    def matches(self, record: Record, _now: datetime) -> bool:
        """Tell whether a session is among those found."""
        return self.negated is not bool(NAMES[self.field].of(record) & frozenset(self.values))


@dataclass(frozen=True)
class LabelIs:
    """The session's label has one of the values."""

    label: str
    values: tuple[str, ...]
    negated: bool = False

    def condition(self, statement: Statement) -> str:
        """Return the SQL."""
        label = statement.value("String", self.label)
        values = statement.value("Array(String)", self.values)
        return _unless(self.negated, f"mapContains(labels, {label}) AND has({values}, labels[{label}])")

    def matches(self, record: Record, _now: datetime) -> bool:
        """Tell whether a session is among those found."""
        return self.negated is not (record["labels"].get(self.label) in self.values)


@dataclass(frozen=True)
class ToolEnded:
    """A call of the tool ended in one of the statuses. Only the events show it."""

    tool: str
    statuses: tuple[str, ...]
    negated: bool = False

    def records(self, statement: Statement, *among: str) -> str:
        """Return ``events WHERE …``: the ends of such calls, of the records that meet ``among``."""
        tool = f"tool_name = {statement.value('String', self.tool)}"
        status = f"status IN {statement.value('Array(String)', self.statuses)}"
        return statement.rows("events", *among, "counted", "kind = 'ToolCallCompleted'", tool, status)

    def condition(self, statement: Statement) -> str:
        """Return the SQL."""
        return _unless(self.negated, f"session_id IN (SELECT session_id FROM {self.records(statement)})")

    def candidates(self, statement: Statement) -> str:
        """Return SQL that a session with such a call meets by its own columns; a full list of tools may lack some."""
        tool, full = statement.value("String", self.tool), statement.value("String", session_flags.OVER_LIMIT)
        return f"(has(tools, {tool}) OR has(flags, {full}))"


@dataclass(frozen=True)
class Compare:
    """A measure is known, and on this side of a value."""

    field: str
    operator: Operator
    value: Amount

    def condition(self, statement: Statement) -> str:
        """Return the SQL."""
        measure = MEASURES[self.field]
        value: Any = to_us(self.value) if isinstance(self.value, datetime) else self.value
        if measure.negated:
            bound = statement.value(measure.clickhouse_type, -value)
            known = "" if self.operator in (Operator.ABOVE, Operator.FROM) else f" AND {measure.negated} < {UNKNOWN}"
            return f"({measure.negated} {_MIRRORED[self.operator]} {bound}{known})"
        bound = statement.value(measure.clickhouse_type, value if isinstance(value, int) else f"{value:f}")
        return f"ifNull({measure.sql} {self.operator} {bound}, false)"

    def matches(self, record: Record, _now: datetime) -> bool:
        """Tell whether a session is among those found."""
        actual: Any = MEASURES[self.field].of(record)
        return actual is not None and bool(_COMPARE[self.operator](actual, self.value))


@dataclass(frozen=True)
class Is:
    """A mark is so."""

    mark: str
    negated: bool = False

    def condition(self, _statement: Statement) -> str:
        """Return the SQL."""
        return _unless(self.negated, MARKS[self.mark].sql)

    def matches(self, record: Record, now: datetime) -> bool:
        """Tell whether a session is among those found."""
        return self.negated is not MARKS[self.mark].of(record, now)


def _unless(negated: bool, found: str) -> str:
    return f"NOT ({found})" if negated else f"({found})"
