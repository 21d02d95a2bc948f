"""What stands above every tab of a session: how it stands, its budget, and what the ledger vouches for. Pure."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from procurator.budgets import Budget
from procurator.budgets.definition import AGENT, ORGANISATION, TEAM
from procurator.clock import from_us, to_rfc3339
from procurator.query_api.models.budgets import BudgetModel, budget_json
from procurator.query_api.models.sessions import SessionDetail

#: Of a longer reason this much is shown; the tab Events leads to all of it.
REASON_CHARS_MAX = 4_000
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
class Approval:
    """What waits for a decision. Without ``reason`` the request itself could not be read."""

    approval_id: str
    reason: str | None = None
    cut: bool = False
    tool_call_id: str | None = None
    tool_name: str = ""
    #: Where the call's start stands, as the tab Tool Calls is told it; None when that is not known.
    call_place: str | None = None
    budget_id: str | None = None
    #: RFC 3339; None when the request never lapses.
    expires_at: str | None = None
    lapsed: bool = False


def approvals(pending: list[str], rows: list[dict[str, Any]], now: datetime) -> list[Approval]:
    """Return what waits, in the order of ``pending``, from the rows of `RequestedApprovals`.

    Each row has in ``asked`` the decoded payload of its record.
    """
    found = {row["approval_id"]: _approval(row, now) for row in rows}
    return [found.get(approval_id) or Approval(approval_id) for approval_id in pending]


def _approval(row: dict[str, Any], now: datetime) -> Approval:
    asked = row["asked"]
    expires_at = None if asked["expires_at"] is None else from_us(asked["expires_at"])
    return Approval(
        approval_id=row["approval_id"],
        reason=asked["reason"][:REASON_CHARS_MAX],
        cut=len(asked["reason"]) > REASON_CHARS_MAX,
        tool_call_id=asked["tool_call_id"],
        tool_name=row["tool_name"],
        call_place=f"{row['log_id']}:{row['call_offset']}" if row["tool_name"] else None,
        budget_id=asked["budget_id"],
        expires_at=None if expires_at is None else to_rfc3339(asked["expires_at"]),
        lapsed=expires_at is not None and expires_at <= now,
    )


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
