"""Budgets: what they limit, over which period, what was spent, and what follows from it. Pure.

The query API defines budgets, the stream processors count and act, `procurator reconcile` recounts: all by these.
"""

from procurator.budgets.definition import (
    NOTICE_S,
    NOTIFY,
    REQUIRE_APPROVAL,
    TERMINATE,
    Budget,
    BudgetError,
    Threshold,
    parse_budget,
)
from procurator.budgets.periods import Period, PeriodFinder, charged_at
from procurator.budgets.spend import Counter, Spend, total_of
from procurator.budgets.status import BudgetStatus, Crossing

__all__ = [
    "NOTICE_S",
    "NOTIFY",
    "REQUIRE_APPROVAL",
    "TERMINATE",
    "Budget",
    "BudgetError",
    "BudgetStatus",
    "Counter",
    "Crossing",
    "Period",
    "PeriodFinder",
    "Spend",
    "Threshold",
    "charged_at",
    "parse_budget",
    "total_of",
]
