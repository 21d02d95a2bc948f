"""A query is data: a frozen dataclass whose ``to_sql()`` gives the statement and its parameters. Pure.

A statement names a table through `Statement.rows` alone, and that puts the scope into its WHERE: a query without a
scope cannot be written. Values never enter the text; they are bound by the server (``{name:Type}``).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar
from uuid import UUID

from procurator.access import Scope

Parameters = dict[str, object]
Row = dict[str, Any]

#: A page ends early once its bodies exceed this: at most this and one more body are in memory at once.
PAGE_BYTES_MAX = 16 * 1024 * 1024
LIMIT_MAX = 1000
LIMIT_DEFAULT = 100


@dataclass
class Statement:
    """One statement in the making: the parameters bound so far, and the scope its tables are read in."""

    scope: Scope
    parameters: Parameters = field(default_factory=dict)

    def bind(self, name: str, clickhouse_type: str, value: object) -> str:
        """Return the placeholder of ``value``. The same name twice must mean the same value."""
        if self.parameters.setdefault(name, value) != value:
            raise ValueError(f"parameter {name} is bound to two values")
        return f"{{{name}:{clickhouse_type}}}"

    def value(self, clickhouse_type: str, value: object) -> str:
        """Return the placeholder of a value that needs no name of its own; the same value is sent once."""
        for name, known in self.parameters.items():
            if name.startswith("value_") and type(known) is type(value) and known == value:
                return self.bind(name, clickhouse_type, value)
        return self.bind(f"value_{len(self.parameters)}", clickhouse_type, value)

    def in_session(self, session_id: UUID) -> tuple[str, str]:
        """Return what must stand before the statement, and the condition that a record of ``events`` is the session's.

        Every day of the ledger may have records of a session, and each is a part to be looked into. So one look, at
        no more than times, tells between which days the others need look.
        """
        is_session = f"session_id = {self.bind('session_id', 'UUID', str(session_id))}"
        span = f"SELECT (min(broker_time), max(broker_time)) FROM {self.rows('events', is_session)}"
        return f"WITH ({span}) AS span\n", f"{is_session} AND broker_time BETWEEN span.1 AND span.2"

    def rows(self, table: str, *conditions: str, first: tuple[str, ...] = ()) -> str:
        """Return ``table WHERE …``: the rows in scope that meet the conditions.

        ``first``: conditions to judge before any column of the others is read; then there must be others.
        """
        scope = self.scope.predicate(self.bind)
        if not first:
            return f"{table} WHERE {' AND '.join((scope, *conditions))}"
        return f"{table} PREWHERE {' AND '.join((scope, *first))} WHERE {' AND '.join(conditions)}"


@dataclass(frozen=True, kw_only=True)
class Query(ABC):
    """A question about the rows in ``scope``."""

    scope: Scope

    def to_sql(self) -> tuple[str, Parameters]:
        """Return the statement, without a FORMAT, and its parameters."""
        statement = Statement(self.scope)
        return self.render(statement), statement.parameters

    @abstractmethod
    def render(self, statement: Statement) -> str:
        """Return the statement's text; what it binds is in ``statement.parameters`` afterwards."""


@dataclass(frozen=True, kw_only=True)
class PageQuery(Query):
    """One page of an ordered list: up to ``limit`` items after the key ``after``.

    It answers one row more than ``limit`` when there are more. ``key_type`` describes a key as a cursor has it,
    `key_of` takes it from an item's row. A query that reads bodies counts each item's in the column ``body_bytes``.
    """

    limit: int = LIMIT_DEFAULT
    after: tuple[Any, ...] | None = None

    #: Types of a key's parts, as pydantic reads them.
    key_type: ClassVar[tuple[Any, ...]]

    @staticmethod
    @abstractmethod
    def key_of(row: Mapping[str, Any]) -> tuple[str | int, ...]:
        """Return the key of an item, as JSON has it."""


def within_bytes(ordered: str, *, columns: str, order: str) -> str:
    """Return the subquery of those rows of ``ordered`` before which at most `PAGE_BYTES_MAX` of bodies stand.

    ``ordered`` is a subquery that has ``body_bytes``; sizes are read without the bodies.
    """
    return (
        f"SELECT {columns} FROM (\n"
        f"  SELECT *, sum(body_bytes) OVER (ORDER BY {order} ROWS UNBOUNDED PRECEDING) - body_bytes AS bytes_before\n"
        f"  FROM ({ordered})\n"
        f") WHERE bytes_before < {PAGE_BYTES_MAX}"
    )


def shortened(statement: Statement, body: str, chars: int | None) -> tuple[str, str]:
    """Return the SQL of a body cut after ``chars`` characters (None: whole), and that of whether anything was cut."""
    if chars is None:
        return body, "false"
    limit = statement.bind("body_chars", "UInt32", chars)
    return f"substringUTF8({body}, 1, {limit})", f"ifNull(lengthUTF8({body}) > {limit}, false)"
