"""A budget's sum against its limit: which thresholds are crossed, and since when. Pure.

A threshold is crossed while the spend is at or above its amount. What calls that have started reserve may cross a
threshold that notifies or pauses, never one that terminates.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from procurator.budgets.definition import TERMINATE, USD, Budget
from procurator.budgets.periods import Period
from procurator.budgets.spend import Spend
from procurator.pricing import EXACT


class Crossing(NamedTuple):
    """A threshold that is crossed. ``amount`` is what it comes to: 10^-18 USD, or tokens."""

    fraction: Decimal
    action: str
    amount: int
    crossed_at_us: int
    dry_run: bool


#: (action, amount, dry_run) of a crossing → when it was found, in µs.
Since = Mapping[tuple[str, int, bool], int]


@dataclass(frozen=True)
class BudgetStatus:
    """One state of a budget's period; with ``session_id`` that of a session (scope SESSION)."""

    budget: Budget
    period: Period
    spend: Spend
    crossed: tuple[Crossing, ...]
    updated_at_us: int
    positions: Mapping[str, int]
    session_id: str | None = None

    @property
    def since(self) -> Since:
        """Since when each threshold is crossed."""
        return {(c.action, c.amount, c.dry_run): c.crossed_at_us for c in self.crossed}

    @property
    def exhausted(self) -> bool:
        """Whether new sessions are refused."""
        return self.budget.enforced and any(crossing.action == TERMINATE for crossing in self.crossed)


def crossed_now(budget: Budget, spend: Spend) -> list[int]:
    """Return the indexes of the thresholds that are crossed; none of a budget that is switched off."""
    if not budget.active:
        return []
    spent = spend.spent(budget.unit)
    foreseen = spent + spend.reserved(budget.unit)
    return [
        index
        for index, (threshold, amount) in enumerate(zip(budget.thresholds, budget.amounts, strict=True))
        if (spent if threshold.action == TERMINATE else foreseen) >= amount
    ]


def status_of(
    budget: Budget,
    period: Period,
    spend: Spend,
    positions: Mapping[str, int],
    since: Since,
    now_us: int,
    session_id: str | None = None,
) -> BudgetStatus:
    """Return the status as of now; ``since`` says when a threshold was found to be crossed before."""
    crossed = []
    for index in crossed_now(budget, spend):
        threshold, amount = budget.thresholds[index], budget.amounts[index]
        at_us = since.get((threshold.action, amount, budget.dry_run), now_us)
        crossed.append(Crossing(threshold.fraction, threshold.action, amount, at_us, budget.dry_run))
    return BudgetStatus(budget, period, spend, tuple(crossed), now_us, positions, session_id)


def in_unit(budget: Budget, amount: int) -> Decimal:
    """Return an amount (10^-18 USD, or tokens) in the budget's unit, without trailing zeros."""
    return Decimal(amount).scaleb(-18, EXACT).normalize(EXACT) if budget.unit == USD else Decimal(amount)
