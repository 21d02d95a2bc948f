"""What stands above every tab of a session: how it stands, its budget, and what the ledger vouches for. Pure."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from procurator.budgets import Budget
from procurator.budgets.definition import AGENT, ORGANISATION, TEAM
from procurator.query_api.models.budgets import BudgetModel, budget_json
from procurator.query_api.models.sessions import SessionDetail

TABS = (
    ("trace", "Message Trace", ""),
    ("tools", "Tool Calls", "/tools"),
    ("timeline", "Timeline", "/timeline"),
    ("cost", "Cost", "/cost"),
    ("events", "Events", "/events"),
    ("proof", "Proof", "/proof"),
)


@dataclass(frozen=True)
class Integrity:
    """What can be said of the session's entries without trusting this server further than a badge goes."""

    tone: str
    title: str
    detail: str


def integrity(session: SessionDetail, signed_offset: int | None) -> Integrity:
    """Return the badge: whether a checkpoint covers every event so far, and whether numbers are missing.

    ``signed_offset`` is the first of the session's log that no checkpoint covers, None without a checkpoint.
    """
    lost = session.missing_events + session.dropped_events
    if lost:
        return Integrity("warn", "Incomplete", f"{lost} events are missing: their sequence numbers never came")
    if signed_offset is None:
        return Integrity("muted", "Unsigned", "nothing can be said yet: no signed checkpoint is at hand")
    if session.as_of_offset >= signed_offset:
        return Integrity("muted", "Signing", "the newest entries are signed within seconds")
    return Integrity("good", "Signed", "a signed checkpoint covers every entry; the tab Proof recomputes it here")


@dataclass(frozen=True)
class BudgetShare:
    """A budget that counts this session, and how much of it is used."""

    budget: BudgetModel
    fraction: Decimal


def tightest(session: SessionDetail, budgets: dict[str, Budget], statuses: Any) -> BudgetShare | None:
    """Return the budget over this session that is used most. ``statuses`` is `BudgetBoard.status`."""
    over = {(AGENT, session.agent_id), (TEAM, session.owner_team_id), (ORGANISATION, session.org_id)}
    shares = []
    for budget in budgets.values():
        if budget.active and budget.org_id == session.org_id and (budget.scope, budget.scope_id) in over:
            model = BudgetModel.model_validate(budget_json(budget, statuses(budget.budget_id)))
            shares.append(BudgetShare(model, share_of(model)))
    return max(shares, key=lambda share: share.fraction, default=None)


def share_of(budget: BudgetModel) -> Decimal:
    """Return how much of a budget is spent, 1 being all of it."""
    limit = Decimal(budget.limit)
    return Decimal(budget.status.spent) / limit if limit else Decimal(0)
