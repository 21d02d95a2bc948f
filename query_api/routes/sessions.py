"""Sessions: the list and the detail."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Response

from procurator.access import Permission
from procurator.query_api.auth import Access, requires
from procurator.query_api.models.common import Page
from procurator.query_api.models.sessions import Session, SessionDetail
from procurator.query_api.problems import not_found
from procurator.query_api.queries.sessions import ListSessions
from procurator.query_api.routes.common import (
    NOT_FOUND,
    PROBLEMS,
    InService,
    Nothing,
    WhichPage,
    answer,
    page_of,
    read_page,
)

router = APIRouter(prefix="/v1", tags=["sessions"], responses=PROBLEMS)

Search = Annotated[Access, Depends(requires(Permission.SESSIONS_READ, "sessions.search"))]
Read = Annotated[Access, Depends(requires(Permission.SESSIONS_READ, "sessions.read"))]


@router.get("/sessions", response_model=Page[Session], summary="List sessions")
async def list_sessions(access: Search, services: InService, which: WhichPage) -> Response:
    """Sessions, newest start first; a session whose start has not been seen stands last.

    From the published state, which lags the ledger by a fraction of a second.
    """
    rows, next_cursor = await read_page(services, ListSessions(scope=access.scope), which)
    await access.shown(item_count=len(rows))
    return answer(Page[Session].model_validate(page_of([*map(services.liveness.shown, rows)], next_cursor)))


@router.get("/sessions/{session_id}", response_model=SessionDetail, summary="Read a session", responses=NOT_FOUND)
async def read_session(access: Read, services: InService, session_id: UUID, _: Nothing) -> Response:
    """One session as of its last event in the ledger, be the published state behind or not yet there."""
    record = await services.sessions.read(access.scope, session_id)
    if record is None:
        raise not_found(f"session {session_id} is not in the ledger")
    await access.shown(owner_team_id=record["owner_team_id"])
    return answer(SessionDetail.model_validate(services.liveness.shown(record)))
