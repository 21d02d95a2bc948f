"""Oddities across a session's records, which no record shows by itself, and the limits on what a state may hold.

A flag says "look at the ledger"; it never rejects a record. Flags are sticky and stand in the order in which they were
raised, but for `CALL_WITHOUT_TURN`, which can be told only of a session that has ended.
"""

#: A record other than an ending stands after the session's end.
EVENT_AFTER_END = "event_after_end"
#: Another ending was stated after one that stands; the status does not change.
ENDED_AGAIN = "ended_again"
#: Something of the session stands before its start.
EVENT_BEFORE_START = "event_before_start"
#: A second start; the first one counts.
STARTED_AGAIN = "started_again"
#: An event names another organisation, agent or owner team than the session's first event, which counts.
IDENTITY_CHANGED = "identity_changed"
#: Two turns have the same index; both count.
DUPLICATE_TURN = "duplicate_turn"
#: A call started while one of its id was open; it is counted once.
DUPLICATE_CALL = "duplicate_call"
#: A call completed whose start does not stand before.
CALL_WITHOUT_START = "call_without_start"
#: The session ended, and a turn that a call belongs to was never recorded.
CALL_WITHOUT_TURN = "call_without_turn"
#: An approval was requested twice under one id while it was pending.
DUPLICATE_APPROVAL = "duplicate_approval"
#: An approval was decided that was not pending.
DECISION_WITHOUT_REQUEST = "decision_without_request"
#: A runtime reported a cost for a call that lies beyond the tolerance of ours (`procurator.pricing.differs`).
REPORTED_COST_DIFFERS = "reported_cost_differs"
#: Something exceeded one of the limits below: lists are cut, and counts of open calls may be off.
OVER_LIMIT = "over_limit"

FLAGS = frozenset(
    {
        EVENT_AFTER_END,
        ENDED_AGAIN,
        EVENT_BEFORE_START,
        STARTED_AGAIN,
        IDENTITY_CHANGED,
        DUPLICATE_TURN,
        DUPLICATE_CALL,
        CALL_WITHOUT_START,
        CALL_WITHOUT_TURN,
        DUPLICATE_APPROVAL,
        DECISION_WITHOUT_REQUEST,
        REPORTED_COST_DIFFERS,
        OVER_LIMIT,
    }
)

#: Models, tools, MCP servers and estimated fields listed, each; the ledger has the rest.
NAMES_MAX = 100
#: Calls and approvals remembered while they are open; the oldest is forgotten first.
OPEN_CALLS_MAX = 1_000
APPROVALS_MAX = 100
#: Turns awaited, and runs of turn indices; both only grow with holes.
TURNS_MAX = 1_000
#: Characters of an error's type, message or stack, and of a reason. (Names and labels are bounded by `events.check`.)
TEXT_CHARS_MAX = 16_384
#: Sums stop at the largest signed 64-bit integer, money at the largest decimal(38, 18).
SUM_MAX = 2**63 - 1
ATTOUSD_MAX = 10**38 - 1
