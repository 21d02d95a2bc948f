"""What the sessions of a worker's partitions must be told: by crossed thresholds, timeouts, parents, decisions. Pure.

Inputs change what is known; `decide(now)` answers with what is to be said since it was asked last. Nothing here depends
on the order of inputs but the time at which it is said, and what is said twice has the same id: so any number of
workers, restarted at any time, act once in effect.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from procurator import signals
from procurator.budgets import NOTIFY, TERMINATE, Budget, BudgetStatus, Period, Spend
from procurator.budgets.actions import signal_of
from procurator.budgets.periods import ALWAYS
from procurator.budgets.records import status_key
from procurator.budgets.status import crossed_now, status_of
from procurator.stream_processors.budgets.approvals import Approvals
from procurator.stream_processors.budgets.endings import Endings, Signal
from procurator.stream_processors.budgets.index import concerns
from procurator.stream_processors.budgets.sessions import OpenSession, OpenSessions
from procurator.stream_processors.budgets.sums import Sums

Payload = tuple[str, dict[str, Any]]


class Said(NamedTuple):
    """An event that the processors add to a session's log."""

    session: OpenSession
    emitter_id: str
    payload: Payload


@dataclass
class Decisions:
    """What is to be said, and in this order: a signal tells a restarted worker that its event was said."""

    events: list[Said] = field(default_factory=list)
    signals: list[Signal] = field(default_factory=list)
    statuses: list[BudgetStatus] = field(default_factory=list)
    #: Keys of statuses that are no more.
    forgotten: list[bytes] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.events or self.signals or self.statuses or self.forgotten)


class Enforcement:
    """What one worker knows of budgets and of the open sessions of its partitions."""

    def __init__(self, sums: Sums) -> None:
        self.sums = sums
        self.sessions = OpenSessions()
        self._endings = Endings(self.sessions)
        self._approvals = Approvals(self.sessions)
        #: Sessions to be judged: they are new, or spent of a budget of their own, or their budgets were changed.
        self._to_judge: dict[str, None] = {}
        self._each: dict[tuple[str, str], BudgetStatus] = {}
        self._out = Decisions()

    def define(self, definitions: dict[str, Budget | None]) -> None:
        """Take definitions by id, None being a deletion. They apply to what is running."""
        self.sums.define(definitions)
        self._approvals.redefined()
        for budget in definitions.values():
            if budget is not None and budget.scope == "SESSION":
                self._to_judge |= dict.fromkeys(session.session_id for session in self._concerned(budget))

    def opened(self, session: OpenSession) -> None:
        """A session is open, or more is known of it."""
        self.sessions.put(session)
        self._endings.opened(session)
        for approval_id, expires_at_us in session.waits.items():
            self._approvals.asked(session.session_id, approval_id, expires_at_us)
        self._to_judge[session.session_id] = None

    def spent(self, session_id: str, spend: Spend) -> None:
        """An open session has spent or reserved something."""
        session = self.sessions.get(session_id)
        if session is not None:
            session.spend = spend
            self._to_judge[session_id] = None

    def asked(self, session_id: str, approval_id: str, expires_at_us: int | None) -> None:
        """A session waits for an approval, until ``expires_at_us`` at most."""
        session = self.sessions.get(session_id)
        if session is not None:
            session.waits[approval_id] = expires_at_us
            self._approvals.asked(session_id, approval_id, expires_at_us)

    def decided(self, session_id: str, payload: dict[str, Any], now_us: int) -> None:
        """An approval was decided: the session is to be told."""
        session = self.sessions.get(session_id)
        if session is not None:
            session.waits.pop(payload["approval_id"], None)
            decision, by, reason = payload["decision"], payload["decided_by"], payload["reason"]
            org_id, approval_id = session.owner.org_id, payload["approval_id"]
            self._give(signals.decided(session_id, org_id, approval_id, decision, by, reason, now_us))

    def ended(self, session_id: str) -> None:
        """A session has ended."""
        session = self.sessions.get(session_id)
        if session is not None:
            for budget in self.sums.index.matching(session.owner).each:
                self._each.pop((budget.budget_id, session_id), None)
            self.sessions.remove(session_id)

    def released(self, partition: int) -> None:
        """The partition is another worker's."""
        self.sessions.remove_partition(partition)

    def heard(self, signal: Signal, now_us: int) -> None:
        """A signal stands on the control topic, whoever gave it."""
        if self._endings.note(signal):
            for following in self._endings.to_children(signal, now_us):
                self._give(following)

    def forget(self, statuses: Iterable[bytes]) -> None:
        """Statuses, by their keys, are to be taken out of their topic."""
        self._out.forgotten += statuses

    def decide(self, now_us: int, time_of: Callable[[int], int]) -> Decisions:
        """Return what is to be said now. ``time_of(partition)``: up to when its records have been folded."""
        for status in self.sums.evaluate(now_us):
            for session in self._concerned(status.budget):
                self._apply(status.budget, status.period, status.spend, session, now_us)
        to_judge, self._to_judge = self._to_judge, {}
        for session_id in to_judge:
            open_session = self.sessions.get(session_id)
            if open_session is not None:
                self._judge(open_session, now_us)
        for session, signal, unanswered in self._endings.due(time_of, now_us):
            if unanswered:
                self._out.events.append(Said(session, _emitter(signal), signals.inferred_end(signal)))
            else:
                self._give(signal)
        for open_session, approval_id, decision, reason in self._approvals.settle(self.sums.index, now_us, time_of):
            # In the log it may still be pending: should this be lost, whoever starts anew finds it there again.
            open_session.waits.pop(approval_id)
            payload = signals.decision(approval_id, decision, signals.PROCESSOR, reason)
            self._out.events.append(Said(open_session, signals.decision_emitter(approval_id), payload))
        self._out.statuses += self.sums.take(now_us)
        self._out.forgotten += (status_key(*period) for period in self.sums.take_forgotten())
        decisions, self._out = self._out, Decisions()
        return decisions

    def _judge(self, session: OpenSession, now_us: int) -> None:
        """Tell a session what holds for it already: its parent is terminated, its budgets are exhausted."""
        signal = self._endings.from_parent(session, now_us)
        if signal is not None:
            self._give(signal)
        matching = self.sums.index.matching(session.owner)
        for budget in matching.shared:
            if budget.enforced:
                status = self.sums.status(budget, now_us)
                if status.crossed:
                    self._apply(budget, status.period, status.spend, session, now_us)
        for budget in matching.each:
            self._judge_alone(budget, session, now_us)

    def _judge_alone(self, budget: Budget, session: OpenSession, now_us: int) -> None:
        """Hold one session to the limit that each has by itself; its status is published when its crossings change."""
        place = budget.budget_id, session.session_id
        before = self._each.get(place)
        since = before.since if before else {}
        status = status_of(budget, ALWAYS, session.spend, {}, since, now_us, session.session_id)
        if status.since.keys() != since.keys():
            self._each[place] = status
            self._out.statuses.append(status)
        self._apply(budget, ALWAYS, session.spend, session, now_us)

    def _apply(self, budget: Budget, period: Period, spend: Spend, session: OpenSession, now_us: int) -> None:
        """Give a session the signal of the crossed threshold that terminates, or else of each that pauses."""
        if not budget.enforced or self._endings.is_terminating(session.session_id):
            return
        crossed = [index for index in crossed_now(budget, spend) if budget.thresholds[index].action != NOTIFY]
        final = [index for index in crossed if budget.thresholds[index].action == TERMINATE][:1]
        for index in final or crossed:
            signal = signal_of(budget, period, index, spend.spent(budget.unit), session.session_id, now_us)
            if self._give(signal) and not final:
                self._out.events.append(Said(session, _emitter(signal), signals.approval_requested(signal)))

    def _give(self, signal: Signal) -> bool:
        """Say a signal unless it was said before, and to a terminated session's children what follows for them."""
        session_id = signal["session_id"]
        if signal["kind"] == signals.TERMINATE and self._endings.is_terminating(session_id):
            return False
        if not self._endings.note(signal):
            return False
        self._out.signals.append(signal)
        for following in self._endings.to_children(signal, signal["requested_at"]):
            self._give(following)
        return True

    def _concerned(self, budget: Budget) -> Iterable[OpenSession]:
        for owner in self.sessions.owners():
            if concerns(budget, owner):
                yield from self.sessions.of_owner(owner)


def _emitter(signal: Signal) -> str:
    """Return who says an event because of a signal; its sequence is 0, so said again it is a repeated one."""
    return f"{signals.PROCESSOR}:{signal['signal_id']}"
