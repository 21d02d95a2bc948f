"""Sessions: the list and the detail."""

from uuid import UUID

from fastapi import APIRouter, Response

from procurator.query_api.models.common import Page
from procurator.query_api.models.sessions import Session, SessionDetail
from procurator.query_api.problems import not_found
from procurator.query_api.queries.sessions import ListSessions
from procurator.query_api.routes.common import (
    NOT_FOUND,
    PROBLEMS,
    InService,
    Nothing,
    ReadScope,
    WhichPage,
    answer,
    page_of,
    read_page,
)

router = APIRouter(prefix="/v1", tags=["sessions"], responses=PROBLEMS)


@router.get("/sessions", response_model=Page[Session], summary="List sessions")
async def list_sessions(scope: ReadScope, services: InService, which: WhichPage) -> Response:
    """Sessions, newest start first; a session whose start has not been seen stands last.

    From the published state, which lags the ledger by a fraction of a second.
    """
    rows, next_cursor = await read_page(services, ListSessions(scope=scope), which)
    return answer(Page[Session].model_validate(page_of(rows, next_cursor)))


@router.get("/sessions/{session_id}", response_model=SessionDetail, summary="Read a session", responses=NOT_FOUND)
async def read_session(scope: ReadScope, services: InService, session_id: UUID, _: Nothing) -> Response:
    """One session as of its last event in the ledger, be the published state behind or not yet there."""
    record = await services.sessions.read(scope, session_id)
    if record is None:
        raise not_found(f"session {session_id} is not in the ledger")
    return answer(SessionDetail.model_validate(record))
