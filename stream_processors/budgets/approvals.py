"""Approvals that nobody has to decide any more: the budget no longer asks, or the request has lapsed. Pure.

Level-triggered as `Endings` is: what a session waits for is in its state, what budgets ask follows from their
definitions and the time. Said again, a decision is a repeated event; one that a person gave first stands.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple

from procurator import signals
from procurator.budgets.actions import approvals_asked
from procurator.budgets.definition import SESSION
from procurator.budgets.periods import ALWAYS
from procurator.stream_processors.budgets.index import BudgetIndex
from procurator.stream_processors.budgets.sessions import OpenSession, OpenSessions


class Settled(NamedTuple):
    """A pending approval that the processors decide."""

    session: OpenSession
    approval_id: str
    decision: str
    reason: str


@dataclass
class Approvals:
    """What open sessions wait for. Changes nothing but its own book; sessions' ``waits`` are the caller's."""

    sessions: OpenSessions
    #: Sessions that wait for a budget, and those whose requests are to be compared with what budgets ask now.
    _paused: dict[str, None] = field(default_factory=dict)
    _to_compare: dict[str, None] = field(default_factory=dict)
    #: (when it lapses, session id, approval id).
    _lapses: list[tuple[int, str, str]] = field(default_factory=list)
    #: When the next period of a budget begins; then it no longer asks what it asked in the one before.
    _next_period_us: int = 0

    def asked(self, session_id: str, approval_id: str, expires_at_us: int | None) -> None:
        """A session waits for an approval."""
        if approval_id.startswith(signals.BUDGET_APPROVAL):
            self._paused[session_id] = self._to_compare[session_id] = None
        if expires_at_us is not None:
            # The runtime, which may be there, has the first word about it.
            heappush(self._lapses, (expires_at_us + signals.GRACE_S * 1_000_000, session_id, approval_id))

    def redefined(self) -> None:
        """Definitions of budgets have changed."""
        self._to_compare |= self._paused
        self._next_period_us = 0

    def settle(self, index: BudgetIndex, now_us: int, time_of: Callable[[int], int]) -> Iterator[Settled]:
        """Yield, once each, what is settled by now. ``time_of(partition)``: up to when its records have been folded."""
        if now_us >= self._next_period_us:
            self._to_compare |= self._paused
            ends = (budget.periods.at(now_us).end_us for budget in index.budgets.values() if budget.scope != SESSION)
            self._next_period_us = min((end for end in ends if end is not None), default=2**63)
        to_compare, self._to_compare = self._to_compare, {}
        for session_id in to_compare:
            yield from self._no_longer_asked(session_id, index, now_us)
        yield from self._lapsed(now_us, time_of)

    def _no_longer_asked(self, session_id: str, index: BudgetIndex, now_us: int) -> Iterator[Settled]:
        session = self.sessions.get(session_id)
        waits = [] if session is None else [a for a in session.waits if a.startswith(signals.BUDGET_APPROVAL)]
        if session is None or not waits:
            self._paused.pop(session_id, None)
            return
        asked = _asked_of(session, index, now_us)
        for approval_id in waits:
            if approval_id not in asked:
                reason = "no budget asks for it any more: a limit was changed, or a new period has begun"
                yield Settled(session, approval_id, signals.APPROVED, reason)

    def _lapsed(self, now_us: int, time_of: Callable[[int], int]) -> Iterator[Settled]:
        waiting = []
        while self._lapses and self._lapses[0][0] <= now_us:
            lapse = due_us, session_id, approval_id = heappop(self._lapses)
            session = self.sessions.get(session_id)
            if session is None or approval_id not in session.waits:
                continue
            if time_of(session.partition) < due_us:
                waiting.append(lapse)
            else:
                yield Settled(session, approval_id, signals.EXPIRED, "nobody decided in time")
        for lapse in waiting:
            heappush(self._lapses, lapse)


def _asked_of(session: OpenSession, index: BudgetIndex, now_us: int) -> set[str]:
    """Return the approvals that its budgets would ask of a session now, were each threshold crossed."""
    shared, each = index.matching(session.owner)
    periods = [(budget, budget.periods.at(now_us)) for budget in shared] + [(budget, ALWAYS) for budget in each]
    return {
        approval_id
        for budget, period in periods
        if budget.enforced
        for approval_id in approvals_asked(budget, period, session.session_id)
    }
