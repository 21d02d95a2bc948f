"""The shell of a session's pages: the header, which every tab has, and the record that somebody looked."""

import asyncio
import base64
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Request, Response

from procurator.access import Permission, Scope
from procurator.errors import Unavailable
from procurator.query_api.auth import Access, requires
from procurator.query_api.models.sessions import SessionDetail
from procurator.query_api.problems import not_found
from procurator.query_api.services import Services
from procurator.query_api.ui.page import Viewer, made_while
from procurator.query_api.ui.queries.approvals import RequestedApprovals
from procurator.query_api.ui.queries.trace import Children
from procurator.query_api.ui.views import header

Read = Annotated[Access, Depends(requires(Permission.SESSIONS_READ, "sessions.read"))]


async def page_of(request: Request, access: Access, head: dict[str, Any], tab: str, **context: Any) -> Response:
    """Return the page of a tab, once the audit has it."""
    session: SessionDetail = head["session"]
    shown = {"active": "sessions", "tab": tab, "tabs": header.TABS, **head, **context}
    return await made_while(
        access.shown(owner_team_id=session.owner_team_id, details={"tab": tab}),
        lambda: Viewer(request, access.principal).page(f"session_{tab}.html", **shown),
    )


async def head_of(access: Access, services: Services, session_id: UUID) -> dict[str, Any]:
    """Return what the header shows. Raises the problem 404 when there is no such session in scope."""
    record, [children], signed = await asyncio.gather(
        services.sessions.read(access.scope, session_id),
        services.store.rows(Children(scope=access.scope, session_id=session_id)),
        _or_none(services.proofs.heads()),
    )
    if record is None:
        raise not_found(f"session {session_id} is not in the ledger, or not yours to see")
    session = SessionDetail.model_validate(services.liveness.shown(record))
    signed_head = signed[2].get(session.log_id) if signed else None
    return {
        "session": session,
        # Whatever else a page shows is as new as this: live goes on from here.
        "resume": services.live.resume_id(session_id, session.log_id, session.as_of_offset),
        "children": children["started"],
        "approvals": await _approvals(services, access.scope, session_id, session.pending_approvals),
        "integrity": header.integrity(session, signed_head.next_offset if signed_head else None),
        "budget": _budget(services, session),
        "may_terminate": access.principal.may(Permission.SESSIONS_TERMINATE),
        "may_export": access.principal.may(Permission.SESSIONS_EXPORT),
    }


async def _approvals(services: Services, scope: Scope, session_id: UUID, pending: list[str]) -> list[header.Approval]:
    if not pending:
        return []
    query = RequestedApprovals(scope=scope, session_id=session_id, approval_ids=tuple(pending))
    rows = await services.store.rows(query)
    asked = [services.event_decoder.decode(base64.b64decode(row["value"])) for row in rows]
    payloads = [{**row, "asked": event["payload"][1]} for row, event in zip(rows, asked, strict=True)]
    return header.approvals(pending, payloads, datetime.now(UTC))


def _budget(services: Services, session: SessionDetail) -> header.BudgetShare | None:
    try:
        return header.tightest(session, services.budgets.budgets, services.budgets.status)
    except Unavailable:
        return None


async def _or_none(work: Awaitable[Any]) -> Any:
    """Return what a badge shows, None while it cannot be had: a page does not wait for the signer."""
    try:
        return await work
    except Unavailable:
        return None
