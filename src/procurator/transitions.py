"""A session's status as a pure transition table, and which of two endings stands.

::

    RUNNING ── approval requested ──▶ PENDING_APPROVAL ── last request decided ──▶ RUNNING
       └──────────── ended ────────────────────┴──▶ COMPLETED | FAILED | TERMINATED | TIMEOUT

Terminal states are final. The one exception is not a transition but a correction: an ending that a processor inferred
gives way to one that somebody stated (see `prevails`).
"""

from types import MappingProxyType
from typing import NamedTuple

RUNNING = "RUNNING"
PENDING_APPROVAL = "PENDING_APPROVAL"
COMPLETED = "COMPLETED"
FAILED = "FAILED"
TERMINATED = "TERMINATED"
TIMEOUT = "TIMEOUT"

OPEN = frozenset({RUNNING, PENDING_APPROVAL})
TERMINAL = frozenset({COMPLETED, FAILED, TERMINATED, TIMEOUT})
STATUSES = OPEN | TERMINAL

#: What may change a status: two triggers about approvals, and each terminal status as the ending of that name.
APPROVAL_REQUESTED = "approval_requested"
APPROVALS_DECIDED = "approvals_decided"
TRIGGERS = frozenset({APPROVAL_REQUESTED, APPROVALS_DECIDED}) | TERMINAL

#: (status, trigger) → next status. A pair that is not here changes nothing.
TRANSITIONS = MappingProxyType(
    {
        (RUNNING, APPROVAL_REQUESTED): PENDING_APPROVAL,
        (PENDING_APPROVAL, APPROVALS_DECIDED): RUNNING,
        **{(status, ending): ending for status in OPEN for ending in TERMINAL},
    }
)


class Ending(NamedTuple):
    """When a session ended (µs, by the clock of whoever said so) and whether a processor only concluded it."""

    occurred_at: int
    inferred: bool


def next_status(status: str, trigger: str) -> str:
    """Return the status after ``trigger``."""
    return TRANSITIONS.get((status, trigger), status)


def prevails(later: Ending, earlier: Ending) -> bool:
    """Tell whether an ending that stands later in the log replaces the one that stands before it.

    The first ending counts, except that an inferred one yields to a stated one that had occurred by then: the
    runtime had ended the session, only its word was late (it was spooling, say). What a runtime states after it had
    been given up is an event after the end.
    """
    return earlier.inferred and not later.inferred and later.occurred_at <= earlier.occurred_at
