"""The counters of one source log. Pure; the stream processors keep them, `procurator reconcile` recounts with them.

A counter is published in the same transaction as the session states that its records have changed, so a recovered
counter is never behind a recovered state: what a state has folded already need not be counted again.
"""

from collections.abc import Callable, Iterable

from procurator.budgets.definition import Budget
from procurator.budgets.spend import Change, Counter, CounterKey


class Meter:
    """Counts the changes of one log's records, in order of offset.

    ``counters`` are those recovered; ``folded_to`` the highest offset that any recovered state has folded. A budget
    without a recovered counter is new here, and counts from above that offset on: below it not every record can be
    told from a repeated one. So it counts all that count from its `from_offset` on, or none.
    """

    def __init__(self, log_id: str, counters: Iterable[Counter] = (), folded_to: int = -1) -> None:
        self.log_id = log_id
        self._folded_to = folded_to
        self._counters = {counter.key: counter for counter in counters}
        self._known = {key.budget_id for key in self._counters}
        #: None is a counter that was forgotten.
        self._dirty: dict[CounterKey, Counter | None] = {}

    @property
    def dirty(self) -> bool:
        """Whether some counter has changed since `take`."""
        return bool(self._dirty)

    def take(self) -> dict[CounterKey, Counter | None]:
        """Return the counters that have changed, which are the caller's to publish; None is one that is no more."""
        taken, self._dirty = self._dirty, {}
        return taken

    def forget(self, is_over: Callable[[CounterKey], bool]) -> None:
        """Drop the counters to which nothing can be added any more: their period is long over, their budget deleted."""
        for key in [key for key in self._counters if is_over(key)]:
            del self._counters[key]
            self._dirty[key] = None

    def count(self, offset: int, budgets: Iterable[Budget], changes: tuple[Change, ...]) -> list[Counter]:
        """Count the changes of the record at ``offset`` against each of ``budgets``; return the counters changed."""
        changed: dict[CounterKey, Counter] = {}
        for budget in budgets:
            for change in changes:
                key = CounterKey(budget.budget_id, budget.periods.at(change.charged_at_us).start_us, self.log_id)
                counter = changed.get(key) or self._counter(key, budget, offset, change)
                if counter is not None and (change.since_offset is None or counter.from_offset <= change.since_offset):
                    counter.add(change, offset)
                    changed[key] = self._dirty[key] = counter
        return list(changed.values())

    def _counter(self, key: CounterKey, budget: Budget, offset: int, change: Change) -> Counter | None:
        counter = self._counters.get(key)
        if counter is not None:
            return counter if counter.as_of_offset < offset else None
        if change.since_offset is not None or (offset <= self._folded_to and budget.budget_id not in self._known):
            return None
        self._known.add(budget.budget_id)
        counter = self._counters[key] = Counter(key, budget.org_id, from_offset=offset)
        return counter
