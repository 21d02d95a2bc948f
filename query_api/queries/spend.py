"""What was spent, from the ledger itself: sums over the model calls that count and the corrections of their cost.

Retention removes sessions; what they had cost stands in the signed purges, by organisation, owner team, agent, model
and day. It is part of the sums wherever the question asks for no more than that (`includes_purged`).

Every group is a part of the whole: groups never overlap, so that their sums are the total to the last digit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from procurator.events import TOKEN_BUCKETS
from procurator.query_api.queries.base import Query, Statement
from procurator.query_api.search.filter import EVERYTHING, SessionFilter
from procurator.query_api.search.terms import AnyOf

#: Groups of one answer; beyond it the question must be narrower.
GROUPS_MAX = 10_000
#: Group → SQL over ``events``. Days and months are UTC and of the broker's clock, as prices and corrections take it.
OF_CALLS: Mapping[str, str] = MappingProxyType(
    {
        "org": "org_id",
        "owner_team": "owner_team_id",
        "agent": "agent_id",
        "provider": "provider",
        "model": "model",
        "price_version": "price_version",
        "session": "toString(session_id)",
        "day": "toDate(broker_time)",
        "month": "formatDateTime(broker_time, '%Y-%m')",
        "imported": "if(imported, 'true', 'false')",
    }
)
#: Group → SQL over ``sessions``; null where the session has none.
OF_SESSIONS: Mapping[str, str] = MappingProxyType(
    {
        "user": "user_id",
        "team": "team_id",
        "origin": "origin",
        "workflow": "workflow_id",
        "schedule": "schedule_id",
        "status": "status",
    }
)
#: Group → SQL over ``purged_spend``.
OF_PURGED: Mapping[str, str] = MappingProxyType(
    {
        **{group: OF_CALLS[group] for group in ("org", "owner_team", "agent", "provider", "model", "imported")},
        "day": "day",
        "month": "formatDateTime(day, '%Y-%m')",
    }
)
#: What can be searched for in it.
_FOUND_OF_PURGED = frozenset({"org", "owner_team", "agent"})
#: The tools that the call's turn called.
TOOL = "tool"
#: ``label:NAME``.
LABEL = "label:"
_ESTIMATED = "notEmpty(events.estimated)"
_CALL = "kind = 'ModelCallCompleted'"
#: As it happened; a correction that brings a price takes such a call out again.
_UNPRICED = f"{_CALL} AND events.cost_usd IS NULL"
_TOKENS = " + ".join(f"events.{bucket}" for bucket in TOKEN_BUCKETS)


#: Figure → SQL of its sum over ``events``, and over ``purged_spend``, which keeps of estimates nothing.
_SUMS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "model_calls": (f"countIf({_CALL})", "sum(p.model_calls)"),
        **{bucket: (f"sum(events.{bucket})", f"sum(p.{bucket})") for bucket in TOKEN_BUCKETS},
        # Null, not zero, where there is neither a price nor a correction.
        "cost_usd": (
            "sum(events.cost_usd)",
            "if(sum(p.model_calls) > sum(p.unpriced_calls) OR sum(p.cost_usd) != 0, sum(p.cost_usd), NULL)",
        ),
        "estimated_cost_usd": (f"sumIf(events.cost_usd, {_ESTIMATED})", "NULL"),
        "estimated_calls": (f"countIf({_CALL} AND {_ESTIMATED})", "0"),
        "unpriced_calls": (
            f"countIf({_UNPRICED}) - countIf(newly_priced_tokens IS NOT NULL)",
            "toInt64(sum(p.unpriced_calls))",
        ),
        "unpriced_tokens": (
            f"sumIf({_TOKENS}, {_UNPRICED}) - sum(ifNull(newly_priced_tokens, 0))",
            "sum(p.unpriced_tokens)",
        ),
        "reported_cost_usd": ("sum(events.reported_cost_usd)", "nullIf(sum(p.reported_cost_usd), 0)"),
    }
)
_MONEY = frozenset({"cost_usd", "estimated_cost_usd", "reported_cost_usd"})


def includes_purged(search: SessionFilter, groups: tuple[str, ...]) -> bool:
    """Tell whether purges keep enough of their sessions to say what these were part of."""
    return all(group in OF_PURGED for group in groups) and all(
        isinstance(term, AnyOf) and term.field in _FOUND_OF_PURGED for term in search.terms
    )


@dataclass(frozen=True, kw_only=True)
class PurgedSpend(Query):
    """What purged sessions had cost, unless ``search`` rules them out: one row of ``model_calls``, ``cost_usd``."""

    search: SessionFilter = EVERYTHING

    def render(self, statement: Statement) -> str:
        return (
            "SELECT sum(p.model_calls) AS model_calls, toString(sum(p.cost_usd)) AS cost_usd\n"
            f"FROM {_purged(statement, self.search)}"
        )


@dataclass(frozen=True, kw_only=True)
class Spend(Query):
    """Rows of the groups' values (``g0``, ``g1`` …), model calls, tokens and money, largest cost first.

    One row more than `GROUPS_MAX` when there are too many. Without groups: the total alone. ``with_purged`` adds what
    purged sessions had cost, where that can be said (`includes_purged`).
    """

    search: SessionFilter = EVERYTHING
    groups: tuple[str, ...] = ()
    with_purged: bool = False

    def render(self, statement: Statement) -> str:
        names = [f"g{index}" for index in range(len(self.groups))]
        grouped = f"\nGROUP BY {', '.join(names)}" if names else ""
        values = dict(zip(names, (self._value(statement, group) for group in self.groups), strict=True))
        parts = [f"SELECT {_columns(values, 0)}\nFROM {self._calls(statement)}{grouped}"]
        if self.with_purged:
            values = dict(zip(names, (_text(OF_PURGED[group]) for group in self.groups), strict=True))
            parts.append(f"SELECT {_columns(values, 1)}\nFROM {_purged(statement, self.search)}{grouped}")
        sums = [
            f"toString(sum(part.{figure})) AS {figure}" if figure in _MONEY else f"sum(part.{figure}) AS {figure}"
            for figure in _SUMS
        ]
        order = ", ".join(["sum(part.cost_usd) DESC NULLS LAST", *names])
        limit = f"\nORDER BY {order} LIMIT {GROUPS_MAX + 1}" if names else ""
        whole = "\nUNION ALL\n".join(parts)
        return f"SELECT {', '.join([*names, *sums])}\nFROM (\n{whole}\n) AS part{grouped}{limit}"

    def _calls(self, statement: Statement) -> str:
        """Return the model calls, with what their groups need of their sessions and turns."""
        conditions = ["counted", "kind IN ('ModelCallCompleted', 'CostCorrected')"]
        if self.search:
            found = statement.rows("sessions FINAL", *self.search.conditions(statement))
            conditions.append(f"session_id IN (SELECT session_id FROM {found})")
        calls = f"(SELECT * FROM {statement.rows('events', *conditions)}) AS events"
        if any(group in OF_SESSIONS or group.startswith(LABEL) for group in self.groups):
            wanted = ", ".join(dict.fromkeys([*OF_SESSIONS.values(), "labels"]))
            calls += (
                f"\nLEFT JOIN (SELECT session_id, {wanted} FROM {statement.rows('sessions FINAL')}) AS session"
                "\n  ON session.session_id = events.session_id"
            )
        if TOOL in self.groups:
            called = statement.rows(
                "events", "counted", "kind IN ('ToolCallStarted', 'ToolCallCompleted')", "turn_index IS NOT NULL"
            )
            calls += (
                "\nLEFT JOIN (\n  SELECT session_id, turn_index,"
                " arraySort(groupUniqArray(toString(tool_name))) AS tools"
                f"\n  FROM {called} GROUP BY session_id, turn_index\n) AS turn"
                "\n  ON turn.session_id = events.session_id AND turn.turn_index = events.turn_index"
            )
        return calls

    def _value(self, statement: Statement, group: str) -> str:
        if group == TOOL:
            return "if(empty(turn.tools), NULL, arrayStringConcat(turn.tools, ', '))"
        if group.startswith(LABEL):
            label = statement.value("String", group.removeprefix(LABEL))
            return f"if(mapContains(session.labels, {label}), session.labels[{label}], NULL)"
        if group in OF_SESSIONS:
            return _text(f"session.{OF_SESSIONS[group]}")
        return _text(OF_CALLS[group])


def _columns(values: Mapping[str, str], part: int) -> str:
    """Return the groups' values and the sums over the calls (0) or over the purged ones (1)."""
    sums = {figure: sql[part] for figure, sql in _SUMS.items()}
    return ", ".join(f"{sql} AS {name}" for name, sql in [*values.items(), *sums.items()])


def _purged(statement: Statement, search: SessionFilter) -> str:
    known = (term for term in search.terms if isinstance(term, AnyOf) and term.field in _FOUND_OF_PURGED)
    return f"(SELECT * FROM {statement.rows('purged_spend', *(term.condition(statement) for term in known))}) AS p"


def _text(value: str) -> str:
    """Return the SQL of a group's value as text, null where there is none."""
    return f"nullIf(toString({value}), '')"
