"""The pages of one session: each tab is an address of its own, under the same header."""

import asyncio
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse

from procurator.access import Permission, Scope
from procurator.query_api.auth import Access, requires
from procurator.query_api.models.sessions import SessionDetail
from procurator.query_api.models.termination import Decision, Reason
from procurator.query_api.routes import termination
from procurator.query_api.routes.common import InService
from procurator.query_api.services import Services
from procurator.query_api.ui.page import PageRoute, Viewer, made_while
from procurator.query_api.ui.queries.calls import CostByModel, CostByTurn, Spans
from procurator.query_api.ui.queries.markers import Errors, Hits, Windows
from procurator.query_api.ui.queries.trace import TraceExtent, extent_of
from procurator.query_api.ui.routes.session_parts import read_window
from procurator.query_api.ui.session_shell import Read, head_of, page_of
from procurator.query_api.ui.views import timeline, trace
from procurator.transitions import OPEN

router = APIRouter(prefix="/sessions/{session_id}", route_class=PageRoute)

Terminate = Annotated[Access, Depends(requires(Permission.SESSIONS_TERMINATE, "sessions.terminate"))]
Approve = Annotated[Access, Depends(requires(Permission.SESSIONS_TERMINATE, "sessions.approve"))]
Deny = Annotated[Access, Depends(requires(Permission.SESSIONS_TERMINATE, "sessions.deny"))]


@router.get("")
async def trace_page(
    request: Request,
    access: Read,
    services: InService,
    session_id: UUID,
    turn: int | None = None,
    find: str = "",
    view: str = "",
) -> Response:
    """The message trace: the window with ``turn``, the others as they are scrolled to."""
    exact = view == "exact"
    head, (extent, windows, shown), errors, hits = await asyncio.gather(
        head_of(access, services, session_id),
        _window_with(services, access.scope, session_id, turn, exact),
        services.store.rows(Errors(scope=access.scope, session_id=session_id)),
        _hits(access, services, session_id, find),
    )
    if extent["last_offset"] < head["session"].as_of_offset:  # it came meanwhile, and live goes on after it
        extent, windows, shown = await _window_with(services, access.scope, session_id, turn, exact)
    earlier, later = trace.neighbours(windows, shown.first)
    return await page_of(
        request, access, head, "trace", window=shown, windows=windows, earlier=earlier, later=later, extent=extent,
        turns_a_window=trace.WINDOW_TURNS, errors=errors, find=find, hits=hits, exact=exact, turn=turn,
    )  # fmt: skip


@router.get("/timeline")
async def timeline_page(
    request: Request, access: Read, services: InService, session_id: UUID, skip: int = 0
) -> Response:
    """Where time and money went: each call as a bar."""
    spans = Spans(scope=access.scope, session_id=session_id, limit=timeline.SPANS_MAX, skip=max(0, skip))
    head, rows = await asyncio.gather(head_of(access, services, session_id), services.store.rows(spans))
    session: SessionDetail = head["session"]
    more = len(rows) > timeline.SPANS_MAX
    now = Viewer(request, access.principal).clock.now
    over = session.status not in OPEN
    last = datetime.fromisoformat(session.completed_at or session.last_activity_at or session.as_of)
    whole = not more and not skip
    chart = timeline.waterfall(
        rows[: timeline.SPANS_MAX],
        session.started_at if whole else None,
        session.completed_at if whole else None,
        last if over else now,
    )
    following = skip + timeline.SPANS_MAX if more else None
    return await page_of(request, access, head, "timeline", chart=chart, over=over, skip=skip, following=following)


@router.get("/cost")
async def cost_page(request: Request, access: Read, services: InService, session_id: UUID) -> Response:
    """Tokens and money by model and by turn."""
    models = CostByModel(scope=access.scope, session_id=session_id)
    turns = CostByTurn(scope=access.scope, session_id=session_id)
    head, by_model, by_turn = await asyncio.gather(
        head_of(access, services, session_id), services.store.rows(models), services.store.rows(turns)
    )
    return await page_of(request, access, head, "cost", by_model=by_model, by_turn=by_turn)


@router.get("/proof")
async def proof_page(request: Request, access: Read, services: InService, session_id: UUID) -> Response:
    """What the ledger vouches for; the browser recomputes it."""
    head = await head_of(access, services, session_id)
    return await page_of(request, access, head, "proof")


@router.get("/header")
async def header_part(request: Request, access: Read, services: InService, session_id: UUID) -> Response:
    """The header alone, for a page that is open while the session runs."""
    head = await head_of(access, services, session_id)
    return await made_while(
        access.shown(owner_team_id=head["session"].owner_team_id),
        lambda: Viewer(request, access.principal).fragment("session_header.html", **head),
    )


@router.post("/terminate")
async def terminate(
    access: Terminate, services: InService, session_id: UUID, reason: Annotated[str, Form(max_length=1024)] = ""
) -> Response:
    """Give the signal, as the API does, and show the session, which is terminating now."""
    await termination.terminate(access, services, session_id, Reason(reason=reason))
    return RedirectResponse(f"/sessions/{session_id}", HTTPStatus.SEE_OTHER)


@router.post("/approve")
async def approve(
    access: Approve, services: InService, session_id: UUID, approval_id: Annotated[str, Form(max_length=1024)]
) -> Response:
    """Approve one request."""
    await termination.approve(access, services, session_id, Decision(reason="", approval_id=approval_id))
    return RedirectResponse(f"/sessions/{session_id}", HTTPStatus.SEE_OTHER)


@router.post("/deny")
async def deny(
    access: Deny, services: InService, session_id: UUID, approval_id: Annotated[str, Form(max_length=1024)]
) -> Response:
    """Deny one request."""
    await termination.deny(access, services, session_id, Decision(reason="", approval_id=approval_id))
    return RedirectResponse(f"/sessions/{session_id}", HTTPStatus.SEE_OTHER)


async def _window_with(
    services: Services, scope: Scope, session_id: UUID, turn: int | None, exact: bool
) -> tuple[dict[str, Any], list[int], trace.Window]:
    """Return how far the trace goes, and what is at least as new: where windows begin, and the one with ``turn``."""
    extent = extent_of(await services.store.rows(TraceExtent(scope=scope, session_id=session_id)))
    near = extent["first_turn"] if turn is None else min(max(0, turn), extent["last_turn"])
    first = trace.window_of(near)
    listed, shown = await asyncio.gather(
        services.store.rows(Windows(scope=scope, session_id=session_id, size=trace.WINDOW_TURNS, near=near)),
        read_window(services, scope, session_id, first, exact),
    )
    return extent, sorted({first, *(row["first"] for row in listed)}), shown


async def _hits(access: Access, services: Services, session_id: UUID, find: str) -> list[dict[str, Any]]:
    if not find.strip():
        return []
    return await services.store.rows(Hits(scope=access.scope, session_id=session_id, text=find.strip()[:200]))
