"""Parts of a session's pages: windows of the trace, tool calls, entries, one exact text."""

import asyncio
from dataclasses import replace
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import PlainTextResponse

from procurator.access import Scope
from procurator.query_api import entries, pages
from procurator.query_api.models.records import Entry, ToolCall
from procurator.query_api.problems import not_found
from procurator.query_api.queries.base import PageQuery
from procurator.query_api.queries.calls import ListToolCalls
from procurator.query_api.queries.entries import ListEntries
from procurator.query_api.queries.sessions import SessionExists
from procurator.query_api.routes.common import InService, PageParameters
from procurator.query_api.services import Services
from procurator.query_api.ui.formats import readable_json
from procurator.query_api.ui.page import HEADERS, PageRoute, Viewer, made_while
from procurator.query_api.ui.queries.markers import ToolMarkers
from procurator.query_api.ui.queries.trace import ExactText, WindowTurns
from procurator.query_api.ui.session_shell import Read, head_of, page_of
from procurator.query_api.ui.views import trace

router = APIRouter(prefix="/sessions/{session_id}", route_class=PageRoute)

#: Texts that a page may have cut: of a turn, of a tool call, and an entry as the tab Events shows it.
Part = Literal["content", "thinking", "input", "output", "entry"]
CALLS_A_PAGE = 50
ENTRIES_A_PAGE = 100


@router.get("/turns")
async def turns_part(
    request: Request, access: Read, services: InService, session_id: UUID, first: int, view: str = ""
) -> Response:
    """One window of the trace."""
    first = trace.window_of(first)
    shown = await read_window(services, access.scope, session_id, first, view == "exact")
    if not shown.items and not await services.store.rows(SessionExists(scope=access.scope, session_id=session_id)):
        raise not_found(f"session {session_id} is not in the ledger, or not yours to see")
    viewer = Viewer(request, access.principal)
    return await made_while(
        access.shown(item_count=len(shown.items)),
        lambda: viewer.fragment("session_window.html", window=shown, session_id=str(session_id)),
    )


@router.get("/tools")
async def tools_page(
    request: Request, access: Read, services: InService, session_id: UUID, cursor: str | None = None, at: str = ""
) -> Response:
    """Every tool call with its payloads; ``at``, log and offset, begins with the call that stands there."""
    head, (rows, following) = await asyncio.gather(
        head_of(access, services, session_id),
        _calls(services, ListToolCalls(scope=access.scope, session_id=session_id), cursor, at),
    )
    calls = [ToolCall.model_validate(row) for row in rows]
    shown = [{"call": each, "input": trace.payload(each.input), "output": trace.payload(each.output)} for each in calls]
    return await page_of(request, access, head, "tools", calls=shown, following=following, paged=bool(cursor or at))


@router.get("/events")
async def events_page(
    request: Request, access: Read, services: InService, session_id: UUID, cursor: str | None = None
) -> Response:
    """Every entry of the ledger, as it stands there."""
    head, (rows, following) = await asyncio.gather(
        head_of(access, services, session_id),
        _read(services, ListEntries(scope=access.scope, session_id=session_id), ENTRIES_A_PAGE, cursor),
    )
    decoded = await asyncio.to_thread(entries.shown, rows, services.event_decoder, services.event_to_json)
    shown = [Entry.model_validate(entry) for entry in decoded]
    return await page_of(
        request, access, head, "events", entries=shown, following=following, paged=cursor is not None,
        chars_max=trace.SHOWN_CHARS_MAX,
    )  # fmt: skip


@router.get("/text")
async def exact_text(
    access: Read,
    services: InService,
    session_id: UUID,
    log: str,
    offset: Annotated[int, Query(ge=0, lt=2**63)],
    part: Part = "content",
) -> Response:
    """One text whole, to read apart or to keep: of the turn, of the call that begins there, or the whole entry."""
    text = await _text(services, access.scope, session_id, (log, offset), part)
    if text is None:
        raise not_found("there is no such text, or it was erased")
    await access.shown(details={"log_id": log, "offset": offset, "part": part})
    return PlainTextResponse(text, headers=HEADERS)


async def read_window(
    services: Services, scope: Scope, session_id: UUID, first: int, exact: bool = False
) -> trace.Window:
    """Return the turns from ``first`` on of one window, with their markers."""
    window: dict[str, Any] = {
        "scope": scope,
        "session_id": session_id,
        "first": first,
        "last": first + trace.WINDOW_TURNS - 1,
    }
    rows, markers = await asyncio.gather(
        services.store.rows(WindowTurns(**window, chars=trace.SHOWN_CHARS_MAX)),
        services.store.rows(ToolMarkers(**window)),
    )
    # Off the event loop: Markdown of fifty long messages takes milliseconds.
    return await asyncio.to_thread(trace.window, first, rows, markers, exact)


async def _text(services: Services, scope: Scope, session_id: UUID, place: tuple[str, int], part: Part) -> str | None:
    """Return the text at a place of the ledger, None where there is none."""
    log_id, offset = place
    if part in ("content", "thinking"):
        thinking = part == "thinking"
        query = ExactText(scope=scope, session_id=session_id, log_id=log_id, offset=offset, thinking=thinking)
        found: list[dict[str, Any]] = await services.store.rows(query)
        return found[0]["text"] if found else None
    if part == "entry":
        rows = await _at(services, ListEntries(scope=scope, session_id=session_id), place)
        decoded = await asyncio.to_thread(entries.shown, rows, services.event_decoder, services.event_to_json)
        return readable_json(decoded[0]["event"]) if decoded and decoded[0]["event"] is not None else None
    rows = await _at(services, ListToolCalls(scope=scope, session_id=session_id), place)
    return rows[0][part] if rows else None


async def _at(services: Services, query: PageQuery, place: tuple[str, int]) -> list[dict[str, Any]]:
    """Return the item that begins at a place, if one does."""
    log_id, offset = place
    page = replace(query, limit=1, after=(log_id, offset - 1) if offset else None)
    return [row for row in await services.store.rows(page) if (row["log_id"], row["offset"]) == place]


async def _calls(
    services: Services, query: ListToolCalls, cursor: str | None, at: str
) -> tuple[list[dict[str, Any]], str | None]:
    log_id, _, offset = at.rpartition(":")
    if not (log_id and offset.isdecimal() and 0 < int(offset) < 2**63):
        return await _read(services, query, CALLS_A_PAGE, cursor)
    page = replace(query, limit=CALLS_A_PAGE, after=(log_id, int(offset) - 1))
    return pages.cut(page, await services.store.rows(page))


async def _read(
    services: Services, query: PageQuery, limit: int, cursor: str | None
) -> tuple[list[dict[str, Any]], str | None]:
    page = PageParameters(limit=limit, cursor=cursor).of(query)
    return pages.cut(page, await services.store.rows(page))
