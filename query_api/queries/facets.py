"""Sums over the sessions of a filter, and how many have which value."""

from dataclasses import dataclass

from procurator.events import TOKEN_BUCKETS
from procurator.query_api.queries.base import Query, Statement
from procurator.query_api.search.filter import EVERYTHING, SessionFilter

#: Values counted of one facet; the rarer ones are left out.
VALUES_MAX = 50
_SUMS = (*TOKEN_BUCKETS, "unpriced_calls", "unpriced_tokens", "turns", "tool_calls", "tool_errors", "model_calls")


@dataclass(frozen=True, kw_only=True)
class SessionTotals(Query):
    """One row: how many sessions, and their sums; the cost is null when there are calls and none has a price."""

    search: SessionFilter = EVERYTHING

    def render(self, statement: Statement) -> str:
        sums = ", ".join(f"sum(found.{name}) AS {name}" for name in _SUMS)
        unknown = "sum(found.unpriced_calls) > 0 AND sum(found.priced_calls) = 0"
        # The sums have the columns' names: beside them a condition on a column would be one on its sum.
        return (
            f"SELECT count() AS sessions, {sums}, if({unknown}, NULL, toString(sum(found.cost_usd))) AS cost_usd\n"
            f"FROM (SELECT {', '.join((*_SUMS, 'priced_calls', 'cost_usd'))}\n"
            f"  FROM {statement.rows('sessions FINAL', *self.search.conditions(statement))}) AS found"
        )


@dataclass(frozen=True, kw_only=True)
class CountByName(Query):
    """Rows of facet, value and number of sessions: status, agent and owner team, each by frequency."""

    search: SessionFilter = EVERYTHING

    def render(self, statement: Statement) -> str:
        return (
            "SELECT multiIf(grouping(status) = 0, 'status', grouping(agent_id) = 0, 'agent', 'owner_team') AS facet,\n"
            "  multiIf(facet = 'status', status, facet = 'agent', agent_id, owner_team_id) AS value, count() AS found\n"
            f"FROM {statement.rows('sessions FINAL', *self.search.conditions(statement))}\n"
            "GROUP BY GROUPING SETS ((status), (agent_id), (owner_team_id))\n"
            f"ORDER BY facet, found DESC, value LIMIT {VALUES_MAX} BY facet"
        )


@dataclass(frozen=True, kw_only=True)
class CountByListed(Query):
    """Rows of facet, value and number of sessions: each model and each tool, by frequency."""

    search: SessionFilter = EVERYTHING

    def render(self, statement: Statement) -> str:
        conditions = self.search.conditions(statement)
        counted = [
            f"SELECT '{facet}' AS facet, toString(listed) AS value, count() AS found FROM (\n"
            f"  SELECT arrayJoin({column}) AS listed FROM {statement.rows('sessions FINAL', *conditions)}\n"
            f") GROUP BY listed ORDER BY found DESC, value LIMIT {VALUES_MAX}"
            for facet, column in (("model", "models"), ("tool", "tools"))
        ]
        return "\nUNION ALL\n".join(f"SELECT * FROM ({one})" for one in counted)
