"""Signals: commands to running sessions on the control topic, and the events that follow from them. Pure.

A signal's id is derived from its cause, so that whoever finds the same cause again (another worker, a restarted one)
makes the same signal, and it takes effect once. What a component says in a session's log because of a signal has that
signal's id as its emitter and sequence 0: said again it is `repeated`, and counts nowhere.
"""

from typing import Any
from uuid import UUID, uuid5

from procurator import events
from procurator.events import SessionEvent

TERMINATE = "TERMINATE"
PAUSE = "PAUSE"
RESUME = "RESUME"

BY_PRINCIPAL = "PRINCIPAL"
BY_BUDGET = "BUDGET"
BY_TIMEOUT = "TIMEOUT"
BY_PARENT = "PARENT"
BY_APPROVAL = "APPROVAL"

APPROVED = "APPROVED"
DENIED = "DENIED"
EXPIRED = "EXPIRED"

#: Seconds after which a session counts as ended without its runtime's word.
GRACE_S = 10
#: Whoever infers an ending or asks on behalf of a budget.
PROCESSOR = "procurator.stream"
#: Approvals that a budget asks for; other ids are a runtime's own.
BUDGET_APPROVAL = "budget:"

_NAMESPACE = UUID("6f3b5a0e-7d64-5b0c-9a53-0c7a53b3d9a1")


def deterministic_id(*cause: str) -> str:
    """Return the id that follows from a cause; each part stands with its length before it."""
    return str(uuid5(_NAMESPACE, "".join(f"{len(part)}:{part}" for part in cause)))


def signal_id(cause: str, session_id: str, because: tuple[str, ...]) -> str:
    """Return the id of the signal to a session; ``because`` tells this cause from every other of its sort."""
    return deterministic_id("signal", cause, session_id, *because)


def signal(
    kind: str,
    cause: str,
    *,
    because: tuple[str, ...],
    session_id: str,
    org_id: str,
    requested_by: str,
    reason: str,
    now_us: int,
    **details: Any,
) -> dict[str, Any]:
    """Return a raw record of signal.avsc.

    ``because`` as in `signal_id`; ``details`` are optional fields.
    """
    record: dict[str, Any] = {
        "signal_id": signal_id(cause, session_id, because),
        "session_id": session_id,
        "org_id": org_id,
        "kind": kind,
        "cause": cause,
        "requested_by": requested_by,
        "reason": reason,
        "requested_at": now_us,
        "budget_id": None,
        "approval_id": None,
        "decision": None,
        "terminal_status": "TERMINATED" if kind == TERMINATE else None,
        "grace_s": GRACE_S,
    }
    return record | details


def terminate_by(principal: str, session_id: str, org_id: str, reason: str, now_us: int) -> dict[str, Any]:
    """Return the signal by which a principal terminates a session; asked again, it is the same one."""
    return signal(
        TERMINATE,
        BY_PRINCIPAL,
        because=(),
        session_id=session_id,
        org_id=org_id,
        requested_by=principal,
        reason=reason,
        now_us=now_us,
    )


def terminate_child(parent: dict[str, Any], session_id: str, org_id: str, now_us: int) -> dict[str, Any]:
    """Return the signal to a session whose parent got the TERMINATE ``parent``."""
    return signal(
        TERMINATE,
        BY_PARENT,
        because=(parent["session_id"],),
        session_id=session_id,
        org_id=org_id,
        requested_by=parent["requested_by"],
        reason=f"its parent session {parent['session_id']} was terminated: {parent['reason']}",
        now_us=now_us,
        budget_id=parent["budget_id"],
    )


def terminate_late(session_id: str, org_id: str, timeout_s: int, now_us: int) -> dict[str, Any]:
    """Return the signal to a session that is beyond its ``timeout_s``."""
    return signal(
        TERMINATE,
        BY_TIMEOUT,
        because=(),
        session_id=session_id,
        org_id=org_id,
        requested_by=PROCESSOR,
        reason=f"the session ran longer than its timeout of {timeout_s} s",
        now_us=now_us,
        terminal_status="TIMEOUT",
    )


def decided(
    session_id: str, org_id: str, approval_id: str, decision: str, decided_by: str, reason: str | None, now_us: int
) -> dict[str, Any]:
    """Return the signal that a decision leads to.

    The session goes on, being told the decision; but one that was denied more of a budget is terminated.
    """
    stop = decision != APPROVED and approval_id.startswith(BUDGET_APPROVAL)
    return signal(
        TERMINATE if stop else RESUME,
        BY_APPROVAL,
        because=(approval_id,),
        session_id=session_id,
        org_id=org_id,
        requested_by=decided_by,
        reason=reason or decision.lower(),
        now_us=now_us,
        approval_id=approval_id,
        decision=decision,
    )


def event_of(
    emitter_id: str,
    owner: dict[str, str],
    session_id: str,
    payload: tuple[str, dict[str, Any]],
    now_us: int,
    nonce: bytes,
) -> SessionEvent:
    """Return the one event that ``emitter_id`` says in a session's log. ``owner``: org_id, agent_id, owner_team_id."""
    return {
        "event_id": deterministic_id("event", session_id, emitter_id),
        "session_id": session_id,
        "emitter_id": emitter_id,
        "sequence": 0,
        "occurred_at": now_us,
        "nonce": nonce,
        "imported": False,
        "org_id": owner["org_id"],
        "agent_id": owner["agent_id"],
        "owner_team_id": owner["owner_team_id"],
        "estimated": [],
        "truncations": [],
        "redactions": [],
        "payload": payload,
    }


def inferred_end(signal: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the payload of the ending of a session whose runtime has not answered a TERMINATE."""
    return events.SESSION_ENDED, {
        "status": signal["terminal_status"] or "TERMINATED",
        "error": None,
        "ended_by": signal["requested_by"],
        "reason": signal["reason"],
        "signal_id": signal["signal_id"],
        "inferred": True,
    }


def decision_emitter(approval_id: str) -> str:
    """Return who says the decision on a request: one for each, so that a second decision is a repeated event."""
    return f"approval:{approval_id}"


def decision(approval_id: str, decision: str, decided_by: str, reason: str | None) -> tuple[str, dict[str, Any]]:
    """Return the payload of the decision on a request."""
    return events.APPROVAL_DECIDED, {
        "approval_id": approval_id,
        "decision": decision,
        "decided_by": decided_by,
        "reason": reason,
    }


def approval_requested(signal: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the payload by which a budget's PAUSE asks for an approval."""
    return events.APPROVAL_REQUESTED, {
        "approval_id": signal["approval_id"],
        "reason": signal["reason"],
        "tool_call_id": None,
        "budget_id": signal["budget_id"],
        "expires_at": None,
    }
