"""What the events of one partition mean for budgets and endings, as they are folded. Pure."""

from procurator import events
from procurator.budgets.charges import charges
from procurator.budgets.meter import Meter
from procurator.events import SessionEvent
from procurator.pricing import Cost, PriceBook
from procurator.session_state import SessionState
from procurator.stream_processors.budgets.enforcement import Enforcement
from procurator.stream_processors.budgets.index import Owner
from procurator.stream_processors.budgets.sessions import OpenSession, spend_of_session

_CHARGED = frozenset(
    {events.MODEL_CALL_STARTED, events.MODEL_CALL_COMPLETED, events.COST_CORRECTED, events.SESSION_ENDED}
)


class Observer:
    """Tells `Enforcement` what happens in one partition, and keeps the partition's counters in ``meter``."""

    def __init__(self, partition: int, meter: Meter, enforcement: Enforcement) -> None:
        self.meter = meter
        #: Completed model calls without a price, since somebody took them.
        self.unpriced_calls = 0
        self._partition = partition
        self._enforcement = enforcement

    def observe(
        self,
        event: SessionEvent,
        state: SessionState,
        offset: int,
        broker_time_us: int,
        cost: Cost | None,
        prices: PriceBook,
    ) -> None:
        """Take an event that ``state`` has just folded and that counts: neither folded before nor repeated."""
        if event["imported"]:
            return
        kind, payload = event["payload"]
        if kind in _CHARGED:
            if cost is None and kind == events.MODEL_CALL_COMPLETED:
                self.unpriced_calls += 1
            changes = charges(state, event, offset, broker_time_us, cost, prices)
            if changes:
                owner = Owner(event["org_id"], event["agent_id"], event["owner_team_id"])
                matching = self._enforcement.sums.index.matching(owner)
                if matching.shared:
                    self._enforcement.sums.merge(self.meter.count(offset, matching.shared, changes))
                if matching.each and not state.ended:
                    self._enforcement.spent(state.session_id, spend_of_session(state))
        if state.ended:
            if kind == events.SESSION_ENDED:
                self._enforcement.ended(state.session_id)
        elif state.events == 1 or kind == events.SESSION_STARTED:
            self._enforcement.opened(OpenSession.of(state, self._partition))
        elif kind == events.APPROVAL_REQUESTED:
            self._enforcement.asked(state.session_id, payload["approval_id"], payload["expires_at"])
        elif kind == events.APPROVAL_DECIDED:
            self._enforcement.decided(state.session_id, payload, broker_time_us)
