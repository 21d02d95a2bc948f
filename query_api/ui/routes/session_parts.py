"""Parts of a session's pages: windows of the trace, tool calls, entries, one exact text."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from procurator.access import Scope
from procurator.query_api import entries, pages
from procurator.query_api.models.records import Entry, ToolCall
from procurator.query_api.problems import not_found
from procurator.query_api.queries.base import PageQuery
from procurator.query_api.queries.calls import ListToolCalls
from procurator.query_api.queries.entries import ListEntries
from procurator.query_api.queries.sessions import SessionExists
from procurator.query_api.queries.turns import ListTurns
from procurator.query_api.routes.common import InService, PageParameters
from procurator.query_api.services import Services
from procurator.query_api.ui.page import HEADERS, PageRoute, Viewer
from procurator.query_api.ui.queries.trace import ExactText, ToolMarkers
from procurator.query_api.ui.session_shell import Read, head_of, page_of
from procurator.query_api.ui.views import trace

router = APIRouter(prefix="/sessions/{session_id}", route_class=PageRoute)

CALLS_A_PAGE = 50
ENTRIES_A_PAGE = 100
#: After every log id and offset of a turn index: log ids begin with a hexadecimal digit.
_LAST_LOG, _LAST_OFFSET = "~", 2**64 - 1


@router.get("/turns")
async def turns_part(
    request: Request, access: Read, services: InService, session_id: UUID, first: int, view: str = ""
) -> Response:
    """One window of the trace."""
    first = trace.window_of(first)
    shown = await read_window(services, access.scope, session_id, first, view == "exact")
    await access.shown(item_count=len(shown.items))
    viewer = Viewer(request, access.principal)
    return viewer.fragment("session_window.html", window=shown, session_id=str(session_id), exact=view == "exact")


@router.get("/tools")
async def tools_page(
    request: Request, access: Read, services: InService, session_id: UUID, cursor: str | None = None, at: str = ""
) -> Response:
    """Every tool call with its payloads; ``at``, log and offset, begins with the call that stands there."""
    query = ListToolCalls(scope=access.scope, session_id=session_id)
    log_id, _, offset = at.rpartition(":")
    if log_id and offset.isdecimal() and 0 < int(offset) < 2**63:
        query = replace(query, limit=CALLS_A_PAGE, after=(log_id, int(offset) - 1))
        rows, following = pages.cut(query, await services.store.rows(query))
    else:
        rows, following = await _read(services, query, CALLS_A_PAGE, cursor)
    calls = [ToolCall.model_validate(row) for row in rows]
    shown = [{"call": each, "input": trace.payload(each.input), "output": trace.payload(each.output)} for each in calls]
    head = await head_of(access, services, session_id)
    return await page_of(request, access, head, "tools", calls=shown, following=following, paged=bool(cursor or at))


@router.get("/events")
async def events_page(
    request: Request, access: Read, services: InService, session_id: UUID, cursor: str | None = None
) -> Response:
    """Every entry of the ledger, as it stands there."""
    rows, following = await _read(
        services, ListEntries(scope=access.scope, session_id=session_id), ENTRIES_A_PAGE, cursor
    )
    decoded = await asyncio.to_thread(entries.shown, rows, services.event_decoder, services.event_to_json)
    shown = [Entry.model_validate(entry) for entry in decoded]
    head = await head_of(access, services, session_id)
    return await page_of(request, access, head, "events", entries=shown, following=following, paged=cursor is not None)


@router.get("/text")
async def exact_text(
    access: Read, services: InService, session_id: UUID, log: str, offset: int, part: str = "content"
) -> Response:
    """One text exactly as it was recorded, to read apart or to keep."""
    query = ExactText(
        scope=access.scope, session_id=session_id, log_id=log, offset=max(0, offset), thinking=part == "thinking"
    )
    rows = await services.store.rows(query)
    if not rows or rows[0]["text"] is None:
        raise not_found("there is no such text, or it was erased")
    await access.shown(details={"log_id": log, "offset": offset})
    return PlainTextResponse(rows[0]["text"], headers=HEADERS)


async def read_window(
    services: Services, scope: Scope, session_id: UUID, first: int, exact: bool = False
) -> trace.Window:
    """Return the turns from ``first`` on of one window, with their markers. Raises 404 for no such session."""
    last = first + trace.WINDOW_TURNS - 1
    rows, markers = await asyncio.gather(
        _turns(services, scope, session_id, first, last),
        services.store.rows(ToolMarkers(scope=scope, session_id=session_id, first=first, last=last)),
    )
    if not rows and not await services.store.rows(SessionExists(scope=scope, session_id=session_id)):
        raise not_found(f"session {session_id} is not in the ledger, or not yours to see")
    # Off the event loop: Markdown of fifty long messages takes milliseconds.
    return await asyncio.to_thread(trace.window, first, rows, markers, exact)


async def _turns(services: Services, scope: Scope, session_id: UUID, first: int, last: int) -> list[dict[str, Any]]:
    """Return every turn whose index lies in the range, however many share one."""
    query = ListTurns(scope=scope, session_id=session_id)
    after: tuple[Any, ...] | None = (first - 1, _LAST_LOG, _LAST_OFFSET) if first else None
    found: list[dict[str, Any]] = []
    while True:
        page = replace(query, limit=2 * trace.WINDOW_TURNS, after=after)
        rows, following = pages.cut(page, await services.store.rows(page))
        found += [row for row in rows if row["turn_index"] <= last]
        if following is None or not rows or rows[-1]["turn_index"] > last:
            return found
        after = query.key_of(rows[-1])


async def _read(
    services: Services, query: PageQuery, limit: int, cursor: str | None
) -> tuple[list[dict[str, Any]], str | None]:
    page = PageParameters(limit=limit, cursor=cursor).of(query)
    return pages.cut(page, await services.store.rows(page))
