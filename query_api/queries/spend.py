"""What was spent, from the ledger itself: sums over the model calls that count and the corrections of their cost.

Every group is a part of the whole: groups never overlap, so that their sums are the total to the last digit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from procurator.events import TOKEN_BUCKETS
from procurator.query_api.queries.base import Query, Statement
from procurator.query_api.search.filter import EVERYTHING, SessionFilter

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
#: The tools that the call's turn called.
TOOL = "tool"
#: ``label:NAME``.
LABEL = "label:"
_ESTIMATED = "notEmpty(events.estimated)"
_CALL = "kind = 'ModelCallCompleted'"
#: As it happened; a correction that brings a price takes such a call out again.
_UNPRICED = f"{_CALL} AND events.cost_usd IS NULL"
_TOKENS = " + ".join(f"events.{bucket}" for bucket in TOKEN_BUCKETS)


@dataclass(frozen=True, kw_only=True)
class Spend(Query):
    """Rows of the groups' values (``g0``, ``g1`` …), model calls, tokens and money, largest cost first.

    One row more than `GROUPS_MAX` when there are too many. Without groups: the total alone.
    """

    search: SessionFilter = EVERYTHING
    groups: tuple[str, ...] = ()

    def render(self, statement: Statement) -> str:
        names = [f"g{index}" for index in range(len(self.groups))]
        values = [f"{self._value(statement, group)} AS {name}" for group, name in zip(self.groups, names, strict=True)]
        sums = [f"sum(events.{bucket}) AS {bucket}" for bucket in TOKEN_BUCKETS]
        columns = [
            *values,
            f"countIf({_CALL}) AS model_calls",
            *sums,
            "toString(sum(events.cost_usd)) AS cost_usd",
            f"toString(sumIf(events.cost_usd, {_ESTIMATED})) AS estimated_cost_usd",
            f"countIf({_CALL} AND {_ESTIMATED}) AS estimated_calls",
            f"countIf({_UNPRICED}) - countIf(newly_priced_tokens IS NOT NULL) AS unpriced_calls",
            f"sumIf({_TOKENS}, {_UNPRICED}) - sum(ifNull(newly_priced_tokens, 0)) AS unpriced_tokens",
            "toString(sum(events.reported_cost_usd)) AS reported_cost_usd",
        ]
        grouped = f"\nGROUP BY {', '.join(names)}" if names else ""
        order = ", ".join(["sum(events.cost_usd) DESC NULLS LAST", *names])
        limit = f"\nORDER BY {order} LIMIT {GROUPS_MAX + 1}" if names else ""
        return f"SELECT {', '.join(columns)}\nFROM {self._calls(statement)}{grouped}{limit}"

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
            return f"nullIf(toString(session.{OF_SESSIONS[group]}), '')"
        return f"nullIf(toString({OF_CALLS[group]}), '')"
