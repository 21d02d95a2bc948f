"""The signal by which a crossed threshold acts on a session. Pure."""

from collections.abc import Iterator
from typing import Any

from procurator import signals
from procurator.budgets.definition import REQUIRE_APPROVAL, TERMINATE, Budget
from procurator.budgets.periods import Period
from procurator.budgets.status import in_unit

_PERIODS = {"DAY": "today", "WEEK": "this week", "MONTH": "this month", "LIFETIME": "in all"}


def signal_of(
    budget: Budget, period: Period, threshold_index: int, spent: int, session_id: str, now_us: int
) -> dict[str, Any]:
    """Return the signal of a threshold that is crossed, to a session that counts against the budget.

    Its id follows from budget, period, action, the amount at which it was due, and session: a renamed budget does not
    ask again, one whose limit has changed does.
    """
    threshold = budget.thresholds[threshold_index]
    terminates = threshold.action == TERMINATE
    signal = signals.signal(
        signals.TERMINATE if terminates else signals.PAUSE,
        signals.BY_BUDGET,
        because=_because(budget, period, threshold_index),
        session_id=session_id,
        org_id=budget.org_id,
        requested_by=signals.PROCESSOR,
        reason=(
            f"budget {budget.name!r}: {in_unit(budget, spent):f} of {budget.limit.normalize():f} {budget.unit} "
            f"were spent {_PERIODS[budget.period]}, {(threshold.fraction * 100).normalize():f}% of the limit asks to "
            f"{'terminate' if terminates else 'wait for an approval'}"
        ),
        now_us=now_us,
        budget_id=budget.budget_id,
    )
    if not terminates:
        signal["approval_id"] = signals.BUDGET_APPROVAL + signal["signal_id"]
    return signal


def approvals_asked(budget: Budget, period: Period, session_id: str) -> Iterator[str]:
    """Yield the ids of the approvals that the budget's thresholds ask of a session once they are crossed."""
    for index, threshold in enumerate(budget.thresholds):
        if threshold.action == REQUIRE_APPROVAL:
            because = _because(budget, period, index)
            yield signals.BUDGET_APPROVAL + signals.signal_id(signals.BY_BUDGET, session_id, because)


def _because(budget: Budget, period: Period, threshold_index: int) -> tuple[str, ...]:
    action, amount = budget.thresholds[threshold_index].action, budget.amounts[threshold_index]
    return budget.budget_id, str(period.start_us), action, str(amount)
