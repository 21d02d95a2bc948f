"""Commands to running sessions: terminate one, terminate many, approve, deny. The stream processors do the rest."""

import os
from hashlib import sha256
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Depends, Response

from procurator import signals
from procurator.access import Permission
from procurator.clock import now_us, to_rfc3339
from procurator.query_api.auth import Access, requires
from procurator.query_api.idempotency import once
from procurator.query_api.models.termination import (
    Decision,
    DecisionAnswer,
    KillSwitch,
    KillSwitchAnswer,
    Reason,
    SignalModel,
)
from procurator.query_api.problems import FieldProblem, Problem, invalid, not_found, responses
from procurator.query_api.queries.budgets import OpenSessions
from procurator.query_api.routes.common import NOT_FOUND, PROBLEMS, InService
from procurator.query_api.search import SessionFilter, parse
from procurator.query_api.search.terms import LabelIs
from procurator.query_api.services import Services
from procurator.topics import CONTROL, SESSION_EVENTS
from procurator.transitions import TERMINAL

router = APIRouter(prefix="/v1/sessions", tags=["commands"], responses=PROBLEMS)

Terminator = Annotated[Access, Depends(once(requires(Permission.SESSIONS_TERMINATE, "sessions.terminate")))]
Approver = Annotated[Access, Depends(once(requires(Permission.SESSIONS_TERMINATE, "sessions.approve")))]
Denier = Annotated[Access, Depends(once(requires(Permission.SESSIONS_TERMINATE, "sessions.deny")))]
_CONFLICT = responses(HTTPStatus.CONFLICT)
_SHOWN_MAX = 100


@router.post("/terminate", response_model=KillSwitchAnswer, summary="Terminate many sessions: preview, then confirm")
async def terminate_many(access: Terminator, services: InService, switch: KillSwitch) -> Response:
    """A kill switch. Without ``confirm`` it answers what it would hit; with it, every open session that matches now."""
    principal = access.principal
    found = _filter_of(switch)
    if not found:
        raise invalid([FieldProblem(field="q", message='give at least one condition; for example "agent:billing"')])
    confirm = sha256(repr((principal.principal_id, found.digest())).encode()).hexdigest()[:16]
    if switch.confirm not in (None, confirm):
        raise invalid([FieldProblem(field="confirm", message="belongs to other conditions: preview again")])
    rows = await services.store.rows(OpenSessions(scope=access.scope, filter=found))
    confirmed = {"confirmed": switch.confirm is not None, "reason": switch.reason}
    await access.shown(item_count=len(rows), filter=switch.model_dump(exclude={"reason", "confirm"}), details=confirmed)
    if switch.confirm is not None:
        by, reason, at_us = principal.principal_id, switch.reason or "kill switch", now_us()
        orders = [signals.terminate_by(by, row["session_id"], row["org_id"], reason, at_us) for row in rows]
        await services.commands.send_all(CONTROL, [(order["session_id"], order) for order in orders])
    answer = KillSwitchAnswer(
        matched=len(rows),
        session_ids=[row["session_id"] for row in rows[:_SHOWN_MAX]],
        confirm=confirm if switch.confirm is None else None,
        terminated=switch.confirm is not None,
    )
    status = HTTPStatus.OK if switch.confirm is None else HTTPStatus.ACCEPTED
    return Response(answer.model_dump_json(), status, media_type="application/json")


@router.post(
    "/{session_id}/terminate",
    response_model=SignalModel,
    status_code=202,
    summary="Terminate a session",
    responses={**NOT_FOUND, **_CONFLICT},
)
async def terminate(
    access: Terminator, services: InService, session_id: UUID, body: Annotated[Reason | None, Body()] = None
) -> Response:
    """Signal every runtime that holds the session. It ends TERMINATED: by its runtime's word, or after the grace.

    Asked again, the signal is the same one. A session that is over is a conflict.
    """
    # To a session that has ended a moment ago the signal changes nothing: there is no need to know of it.
    session = _require_open(await services.sessions.published(access.scope, session_id), session_id)
    reason = (body.reason if body is not None else "") or "terminated through the API"
    await access.shown(owner_team_id=session["owner_team_id"], item_count=1, details={"reason": reason})
    order = signals.terminate_by(access.principal.principal_id, str(session_id), session["org_id"], reason, now_us())
    await services.commands.send(CONTROL, str(session_id), order)
    shown = SignalModel.model_validate({**order, "requested_at": to_rfc3339(order["requested_at"])})
    return Response(shown.model_dump_json(), HTTPStatus.ACCEPTED, media_type="application/json")


@router.post(
    "/{session_id}/approve",
    response_model=DecisionAnswer,
    status_code=202,
    summary="Approve what a session waits for",
    responses={**NOT_FOUND, **_CONFLICT},
)
async def approve(
    access: Approver, services: InService, session_id: UUID, body: Annotated[Decision | None, Body()] = None
) -> Response:
    """Decide a pending approval. Of several decisions on one request the first counts."""
    return await _decide(access, services, session_id, body, signals.APPROVED)


@router.post(
    "/{session_id}/deny",
    response_model=DecisionAnswer,
    status_code=202,
    summary="Deny what a session waits for",
    responses={**NOT_FOUND, **_CONFLICT},
)
async def deny(
    access: Denier, services: InService, session_id: UUID, body: Annotated[Decision | None, Body()] = None
) -> Response:
    """Decide a pending approval. A session that is denied more of a budget is terminated; another is told."""
    return await _decide(access, services, session_id, body, signals.DENIED)


def _filter_of(switch: KillSwitch) -> SessionFilter:
    """Return the sessions that meet all of a kill switch's conditions. Raises SearchError."""
    names = {"org": switch.org_id, "agent": switch.agent_id, "owner_team": switch.owner_team_id}
    given = SessionFilter.of(**{name: value for name, value in names.items() if value is not None})
    labels = SessionFilter(tuple(LabelIs(name, (value,)) for name, value in switch.labels.items()))
    return parse(switch.q) & given & labels


async def _decide(
    access: Access, services: Services, session_id: UUID, body: Decision | None, decision: str
) -> Response:
    body = body or Decision(reason="")
    session = _require_open(await services.sessions.read(access.scope, session_id), session_id)
    pending: list[str] = session["pending_approvals"]
    approval_id = body.approval_id or (pending[0] if len(pending) == 1 else None)
    if approval_id is None and pending:
        raise invalid([FieldProblem(field="approval_id", message=f"several wait: say which of {', '.join(pending)}")])
    if approval_id not in pending:
        raise _conflict(f"session {session_id} waits for no such approval")
    payload = signals.decision(approval_id, decision, access.principal.principal_id, body.reason or None)
    emitter_id = signals.decision_emitter(approval_id)
    event = signals.event_of(emitter_id, session, str(session_id), payload, now_us(), os.urandom(16))
    await access.shown(owner_team_id=session["owner_team_id"], item_count=1, details=payload[1])
    await services.commands.send(SESSION_EVENTS, str(session_id), dict(event))
    shown = DecisionAnswer.model_validate({**payload[1], "session_id": str(session_id)})
    return Response(shown.model_dump_json(), HTTPStatus.ACCEPTED, media_type="application/json")


def _require_open(session: dict[str, Any] | None, session_id: UUID) -> dict[str, Any]:
    """Return a session that has not ended. Raises the problems 404 (unknown, or out of scope) and 409 (over)."""
    if session is None:
        raise not_found(f"session {session_id} is not in the ledger")
    if session["status"] in TERMINAL:
        raise _conflict(f"session {session_id} is over already: {session['status']} since {session['completed_at']}")
    return session


def _conflict(detail: str) -> Problem:
    return Problem(HTTPStatus.CONFLICT, "conflict", "The session is not in that state", detail)
