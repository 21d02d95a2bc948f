"""Budgets over all logs: their definitions, the sums of their counters, and which thresholds those cross. Pure.

Which worker knows what first makes no difference: counters only grow, and a status follows from the definition and the
counters alone, but for the times at which it was computed and its crossings were found.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from procurator.budgets import NOTIFY, Budget, BudgetStatus, Counter, total_of
from procurator.budgets.definition import SESSION
from procurator.budgets.spend import later
from procurator.budgets.status import Since, status_of
from procurator.stream_processors.budgets.index import BudgetIndex


@dataclass(frozen=True)
class StatusPolicy:
    """A status is published at once when its crossings change, else at most once in `interval_us`.

    Sums are kept for `kept_us` after their period: longer than events are kept, so nothing can be added later.
    """

    interval_us: int = 250_000
    kept_us: int = 15 * 86_400_000_000


class PeriodKey(NamedTuple):
    """A budget's period, by its start."""

    budget_id: str
    start_us: int


class Sums:
    """``publishes(budget_id)`` tells whether this worker publishes the budget's status: one of them does."""

    def __init__(self, publishes: Callable[[str], bool], policy: StatusPolicy = StatusPolicy()) -> None:
        self.index = BudgetIndex()
        self._publishes = publishes
        self._policy = policy
        self._counters: dict[PeriodKey, dict[str, Counter]] = {}
        self._statuses: dict[PeriodKey, BudgetStatus] = {}
        self._since: dict[PeriodKey, Since] = {}
        self._changed: dict[PeriodKey, None] = {}
        self._redefined: dict[str, None] = {}
        self._unpublished: dict[PeriodKey, None] = {}
        self._published_us: dict[PeriodKey, int] = {}
        self._outgoing: list[BudgetStatus] = []
        self._forgotten: list[PeriodKey] = []

    def define(self, definitions: Mapping[str, Budget | None]) -> None:
        """Take definitions by id, new or changed; None is a budget that was deleted."""
        budgets = {**self.index.budgets, **definitions}
        self.index = BudgetIndex.of(budget for budget in budgets.values() if budget is not None)
        self._redefined |= dict.fromkeys(name for name, budget in definitions.items() if budget is not None)
        self._changed |= dict.fromkeys(key for key in self._counters if key.budget_id in definitions)

    def merge(self, counters: Iterable[Counter]) -> None:
        """Take counters, of our logs or of others'; one that is not further on than what is known changes nothing."""
        for counter in counters:
            key = PeriodKey(counter.key.budget_id, counter.key.period_start_us)
            logs = self._counters.setdefault(key, {})
            log_id = counter.key.log_id
            known = logs.get(log_id)
            # A counter of our own is changed in place: then it is the same one, and further on.
            if known is counter or later(known, counter) is counter:
                logs[log_id] = counter
                self._changed[key] = None

    def crossed_since(self, key: PeriodKey, since: Since) -> None:
        """Take from a status as it was published since when its thresholds are crossed."""
        self._since[key] = {**since, **self._since.get(key, {})}

    def publish_all(self) -> None:
        """Partitions have come or gone: other statuses than before may be ours to publish."""
        self._unpublished |= dict.fromkeys(self._statuses)

    def status(self, budget: Budget, now_us: int) -> BudgetStatus:
        """Return the budget's status in the current period."""
        key = PeriodKey(budget.budget_id, budget.periods.at(now_us).start_us)
        return self._statuses.get(key) or self._evaluate(key, budget, now_us)

    def evaluate(self, now_us: int) -> list[BudgetStatus]:
        """Sum up what has changed; return the statuses of current periods that cross a threshold which acts, anew."""
        changed, self._changed = self._changed, {}
        redefined, self._redefined = self._redefined, {}
        budgets = self.index.budgets
        keys = dict.fromkeys(key for key in changed if key.budget_id in budgets)
        for name in redefined.keys() & budgets.keys():
            if budgets[name].scope != SESSION:
                keys[PeriodKey(name, budgets[name].periods.at(now_us).start_us)] = None
        acting = []
        for key in keys:
            budget, before = budgets[key.budget_id], self._statuses.get(key)
            status = self._evaluate(key, budget, now_us)
            acts = _acts(status) if budget.enforced else set()
            known = _acts(before) if before is not None and before.budget.enforced else set()
            if acts - known and status.period.holds(now_us):
                acting.append(status)
        return acting

    def take(self, now_us: int) -> list[BudgetStatus]:
        """Return the statuses that are to be published now."""
        for key in list(self._unpublished):
            if not self._publishes(key.budget_id) or key not in self._statuses:
                del self._unpublished[key]
            elif now_us - self._published_us.get(key, 0) >= self._policy.interval_us:
                self._publish(key)
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def sweep(self, now_us: int) -> None:
        """Forget the periods that are long over, and budgets that were deleted; `take_forgotten` says which."""
        for key in dict.fromkeys((*self._counters, *self._statuses, *self._since)):
            if not self.is_over(key, now_us):
                continue
            if self._publishes(key.budget_id) and (key in self._statuses or key in self._since):
                self._forgotten.append(key)
            for kept in (self._counters, self._statuses, self._since, self._unpublished, self._published_us):
                kept.pop(key, None)

    def take_forgotten(self) -> list[PeriodKey]:
        """Return the periods whose status is to be taken out of the topic."""
        forgotten, self._forgotten = self._forgotten, []
        return forgotten

    def is_over(self, key: PeriodKey, now_us: int) -> bool:
        """Tell whether nothing can be added to the period any more: it is long over, or the budget was deleted."""
        budget = self.index.budgets.get(key.budget_id)
        if budget is None:
            return True
        end_us = budget.periods.at(key.start_us).end_us
        return end_us is not None and end_us + self._policy.kept_us < now_us

    def _evaluate(self, key: PeriodKey, budget: Budget, now_us: int) -> BudgetStatus:
        logs = self._counters.get(key, {})
        positions = {log_id: counter.as_of_offset for log_id, counter in logs.items()}
        period = budget.periods.at(key.start_us)
        status = status_of(budget, period, total_of(logs.values()), positions, self._since.get(key, {}), now_us)
        before = self._statuses.get(key)
        self._statuses[key] = status
        self._unpublished[key] = None
        if status.since.keys() != self._since.get(key, {}).keys() or before is None or before.budget is not budget:
            self._since[key] = status.since
            if self._publishes(budget.budget_id):
                self._publish(key)
        return status

    def _publish(self, key: PeriodKey) -> None:
        status = self._statuses[key]
        self._outgoing.append(status)
        self._published_us[key] = status.updated_at_us
        self._unpublished.pop(key, None)


def _acts(status: BudgetStatus) -> set[tuple[str, int]]:
    """Return the crossings of a status that do something to sessions."""
    return {(crossing.action, crossing.amount) for crossing in status.crossed if crossing.action != NOTIFY}
