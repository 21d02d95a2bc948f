"""The aggregate of one session as a pure fold over its events, in the order in which they stand in the log.

The stream processors keep it, the query API folds later events onto a published one, reconcile recounts by it.
Laws (tests/properties/test_session_state_laws.py): a record at or below `as_of_offset` changes nothing, so any
redelivery gives the same aggregate; restoring from a snapshot and going on is the same as folding straight through.

A record that is rejected or misplaced must not get here: it is counted nowhere. A repeated one counts in
`repeated_events` alone. Flags and limits are in `procurator.session_flags`.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Self

from procurator import events, sequences, session_fold, session_record, transitions
from procurator import session_flags as flag
from procurator.events import SessionEvent
from procurator.pricing import EXACT, Cost
from procurator.sequences import Runs
from procurator.session_record import Reservation

#: Ordered set.
Names = dict[str, None]
#: Call id → (name of tool or model, started_at in µs), in order of start.
OpenCalls = dict[str, tuple[str, int]]


#: What says nothing of what the session does, and what may stand after its end.
_NO_ACTIVITY = frozenset({events.HEARTBEAT, events.COST_CORRECTED})
_AFTER_END = frozenset({events.SESSION_ENDED, events.COST_CORRECTED})


@dataclass(slots=True)
class SessionState:
    """The aggregate as of `as_of_offset`; fields are those of session_state.avsc, times in µs since the epoch.

    Money is kept as integers of 10^-18 USD (`…_attousd`), so that sums are exact and cheap.
    """

    session_id: str
    as_of_offset: int = -1
    as_of: int = 0
    org_id: str = ""
    agent_id: str = ""
    agent_name: str = ""
    owner_team_id: str = ""
    team_id: str | None = None
    team_name: str | None = None
    user_id: str | None = None
    initiator: str | None = None
    origin: str | None = None
    schedule_id: str | None = None
    workflow_id: str | None = None
    workflow_run_id: str | None = None
    parent_session_id: str | None = None
    timeout_s: int | None = None
    labels: dict[str, str] = field(default_factory=dict)
    imported: bool = False
    status: str = transitions.RUNNING
    error: dict[str, Any] | None = None
    ended_by: str | None = None
    end_reason: str | None = None
    end_inferred: bool = False
    started_at: int | None = None
    completed_at: int | None = None
    last_activity_at: int | None = None
    turns: int = 0
    tool_calls: int = 0
    tool_errors: int = 0
    model_calls: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_attousd: int = 0
    priced_calls: int = 0
    unpriced_calls: int = 0
    unpriced_tokens: int = 0
    reported_cost_attousd: int | None = None
    models: Names = field(default_factory=dict)
    tools: Names = field(default_factory=dict)
    mcp_servers: Names = field(default_factory=dict)
    estimated: Names = field(default_factory=dict)
    events: int = 0
    repeated_events: int = 0
    dropped_events: int = 0
    raised: Names = field(default_factory=dict)
    emitters: dict[str, Runs] = field(default_factory=dict)
    open_tools: OpenCalls = field(default_factory=dict)
    open_models: OpenCalls = field(default_factory=dict)
    completed_call_ids: Names = field(default_factory=dict)
    #: By approval id: when the request lapses, by the clock of whoever asked; None is never.
    pending_approvals: dict[str, int | None] = field(default_factory=dict)
    turn_runs: Runs = field(default_factory=list)
    awaited_turns: dict[int, None] = field(default_factory=dict)
    deadline_at: int | None = None
    #: By call id. The fold leaves them alone: `procurator.budgets.reservations` keeps them, for the stream processors.
    reservations: dict[str, Reservation] = field(default_factory=dict)

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """Return the state in a raw record of session_state.avsc; whose log it is of is for the caller to check."""
        return cls(**session_record.to_fields(record))

    def to_record(self, log_id: str) -> dict[str, Any]:
        """Return the raw record of session_state.avsc: everything that folding needs to go on."""
        return session_record.of_state(self, log_id)

    @property
    def ended(self) -> bool:
        return self.status in transitions.TERMINAL

    @property
    def flags(self) -> list[str]:
        """Flags of `procurator.session_flags`, in the order in which they were raised."""
        missing_turn = self.awaited_turns and self.ended
        return [*self.raised, flag.CALL_WITHOUT_TURN] if missing_turn else [*self.raised]

    @property
    def missing_events(self) -> int:
        """Sequence numbers below the highest seen that have not been seen, over all emitters."""
        return min(sum(map(sequences.missing, self.emitters.values())), flag.SUM_MAX)

    @property
    def cost_usd(self) -> Decimal:
        return Decimal(self.cost_attousd).scaleb(-18, EXACT)

    def apply(self, event: SessionEvent, *, offset: int, broker_time_us: int, cost: Cost | None = None) -> bool:
        """Fold the event that stands at ``offset`` and return True, or return False when it had been folded before.

        ``cost`` is what a completed model call costs, None when it has no price; other events have none.
        """
        if offset <= self.as_of_offset:
            return False
        self.as_of_offset = offset
        # Should the broker's clock step back, this does not: a session's later state always outranks an earlier one.
        self.as_of = max(self.as_of, broker_time_us)
        runs = self.emitters.get(event["emitter_id"])
        if runs is None:
            runs = self.emitters[event["emitter_id"]] = []
        if sequences.observe(runs, event["sequence"]):
            self.repeated_events += 1
            return True
        kind, payload = event["payload"]
        if not self.events:
            self._identify(event, kind)
        elif (
            event["org_id"] != self.org_id
            or event["agent_id"] != self.agent_id
            or event["owner_team_id"] != self.owner_team_id
        ):
            self.raised[flag.IDENTITY_CHANGED] = None
        self.events += 1
        occurred_at = event["occurred_at"]
        if kind not in _NO_ACTIVITY and (self.last_activity_at is None or occurred_at > self.last_activity_at):
            self.last_activity_at = occurred_at
        if self.completed_at is not None and kind not in _AFTER_END:
            self.raised[flag.EVENT_AFTER_END] = None
        if event["estimated"]:
            for name in event["estimated"]:
                session_fold.note(self, self.estimated, name)
        if kind == events.MODEL_CALL_COMPLETED:
            session_fold.model_call_completed(self, payload, cost)
        elif kind in session_fold.STEPS:
            session_fold.STEPS[kind](self, payload, occurred_at)
        return True

    def _identify(self, event: SessionEvent, kind: str) -> None:
        self.org_id = event["org_id"]
        self.agent_id = event["agent_id"]
        self.owner_team_id = event["owner_team_id"]
        self.imported = event["imported"]
        if kind != events.SESSION_STARTED:
            self.raised[flag.EVENT_BEFORE_START] = None
