"""Budgets: the history of one's statuses; sessions that a kill switch would hit."""

from dataclasses import dataclass
from uuid import UUID

from procurator.query_api.queries.base import Query, Statement
from procurator.query_api.search import SessionFilter

HISTORY_MAX = 500
#: Sessions that one kill switch terminates at most: a second call takes the next.
TERMINATE_MAX = 10_000


@dataclass(frozen=True, kw_only=True)
class BudgetHistory(Query):
    """Statuses of a budget, newest first."""

    budget_id: UUID

    def render(self, statement: Statement) -> str:
        is_budget = f"budget_id = {statement.bind('budget_id', 'String', str(self.budget_id))}"
        return (
            "SELECT definition_version, session_id, period_end,\n"
            "  if(isNull(period_end), NULL, budget_status.period_start) AS period_start,\n"
            "  `limit`, spent, reserved, unpriced_tokens, crossed, exhausted, updated_at\n"
            f"FROM {statement.rows('budget_status FINAL', is_budget)}\n"
            f"ORDER BY budget_status.updated_at DESC LIMIT {HISTORY_MAX}"
        )


@dataclass(frozen=True, kw_only=True)
class OpenSessions(Query):
    """Open sessions that a filter finds: id and owner, oldest start first. Imported ones run nowhere."""

    filter: SessionFilter

    def render(self, statement: Statement) -> str:
        conditions = ("status IN ('RUNNING', 'PENDING_APPROVAL')", "NOT imported", *self.filter.conditions(statement))
        return (
            "SELECT session_id, org_id, agent_id, owner_team_id, started_at\n"
            f"FROM {statement.rows('sessions FINAL', *conditions)}\n"
            f"ORDER BY started_at, session_id LIMIT {TERMINATE_MAX}"
        )
