"""What a session consists of: turns, tool calls, model calls, ledger entries."""

import asyncio
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field

from procurator.access import Permission
from procurator.query_api import entries
from procurator.query_api.auth import Access, requires
from procurator.query_api.models.common import Page
from procurator.query_api.models.records import Entry, ModelCall, ToolCall, Turn
from procurator.query_api.problems import not_found
from procurator.query_api.queries.base import PageQuery, Row
from procurator.query_api.queries.calls import ListModelCalls, ListToolCalls
from procurator.query_api.queries.entries import ListEntries
from procurator.query_api.queries.sessions import SessionExists
from procurator.query_api.queries.turns import ListTurns
from procurator.query_api.routes.common import (
    NOT_FOUND,
    PROBLEMS,
    InService,
    PageParameters,
    WhichPage,
    answer,
    page_of,
    read_page,
)
from procurator.query_api.services import Services

router = APIRouter(prefix="/v1/sessions/{session_id}", tags=["parts of a session"], responses={**PROBLEMS, **NOT_FOUND})

Read = Annotated[Access, Depends(requires(Permission.SESSIONS_READ, "sessions.read"))]


class BodyParameters(PageParameters):
    """Which page, and how much of each body."""

    body_chars: int | None = Field(
        None, ge=1, le=1_000_000, description="Characters shown of each body; whole bodies without it."
    )


WhichBodies = Annotated[BodyParameters, Query()]


@router.get("/turns", response_model=Page[Turn], summary="List turns")
async def list_turns(access: Read, services: InService, session_id: UUID, which: WhichBodies) -> Response:
    """Turns by index, those of one index in ledger order, each exactly as recorded."""
    query = ListTurns(scope=access.scope, session_id=session_id, body_chars=which.body_chars)
    rows, next_cursor = await _read(access, services, session_id, query, which)
    return answer(Page[Turn].model_validate(page_of(rows, next_cursor)))


@router.get("/tool-calls", response_model=Page[ToolCall], summary="List tool calls")
async def list_tool_calls(access: Read, services: InService, session_id: UUID, which: WhichBodies) -> Response:
    """Tool calls in the order of their first record; one that has only started has no status yet."""
    query = ListToolCalls(scope=access.scope, session_id=session_id, body_chars=which.body_chars)
    rows, next_cursor = await _read(access, services, session_id, query, which)
    return answer(Page[ToolCall].model_validate(page_of(rows, next_cursor)))


@router.get("/model-calls", response_model=Page[ModelCall], summary="List model calls")
async def list_model_calls(access: Read, services: InService, session_id: UUID, which: WhichPage) -> Response:
    """Model calls in the order of their first record: the only source of tokens and cost."""
    query = ListModelCalls(scope=access.scope, session_id=session_id)
    rows, next_cursor = await _read(access, services, session_id, query, which)
    return answer(Page[ModelCall].model_validate(page_of(rows, next_cursor)))


@router.get("/events", response_model=Page[Entry], summary="List ledger entries")
async def list_events(access: Read, services: InService, session_id: UUID, which: WhichPage) -> Response:
    """Every record of the session in ledger order, those that count nowhere included, with its place and leaf."""
    query = ListEntries(scope=access.scope, session_id=session_id)
    rows, next_cursor = await _read(access, services, session_id, query, which)
    # Off the event loop: a page may be megabytes, and a schema not met before is fetched from the registry.
    items = await asyncio.to_thread(entries.shown, rows, services.event_decoder, services.event_to_json)
    return answer(Page[Entry].model_validate(page_of(items, next_cursor)))


async def _read(
    access: Access, services: Services, session_id: UUID, query: PageQuery, which: PageParameters
) -> tuple[list[Row], str | None]:
    """Return one page, recorded, empty when the session has none of these; the problem 404 when there is no session."""
    rows, next_cursor = await read_page(services, query, which)
    if not rows and not await services.store.rows(SessionExists(scope=access.scope, session_id=session_id)):
        raise not_found(f"session {session_id} is not in the ledger")
    await access.shown(resource=str(session_id), item_count=len(rows), details={"list": type(query).__name__})
    return rows, next_cursor
