"""Sessions as they happen, as Server-Sent Events (docs/live.md)."""

from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from procurator.access import Permission
from procurator.query_api.auth import Access, requires
from procurator.query_api.live.resume import ID_CHARS_MAX, BadResumeId
from procurator.query_api.live.sse import EventStream
from procurator.query_api.problems import FieldProblem, Problem, invalid, not_found
from procurator.query_api.queries.base import LIMIT_MAX
from procurator.query_api.routes.common import NOT_FOUND, PROBLEMS, InService
from procurator.query_api.routes.filters import FilterParameters
from procurator.query_api.search import render

router = APIRouter(prefix="/v1", tags=["live"], responses=PROBLEMS)

Stream = Annotated[Access, Depends(requires(Permission.SESSIONS_READ, "sessions.stream"))]
LastEventId = Annotated[str | None, Header(max_length=ID_CHARS_MAX, description="The last `id:` that came.")]
_AS_PARAMETER = "`Last-Event-ID` for clients that cannot send it as a header."
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "Events, docs/live.md"}
}
_OVER: dict[int | str, dict[str, Any]] = {204: {"description": "The session is over and all of it was sent"}}


class ResumeParameters(BaseModel):
    """Where to go on."""

    model_config = ConfigDict(extra="forbid")

    last_event_id: str | None = Field(None, max_length=ID_CHARS_MAX, description=_AS_PARAMETER)


class ListStreamParameters(FilterParameters, ResumeParameters):
    """Which sessions, and where to go on."""

    backfill: int = Field(0, ge=0, le=LIMIT_MAX, description="Send so many of the newest sessions first, if it is new.")


@router.get(
    "/sessions/{session_id}/stream",
    response_class=Response,
    summary="Watch a session",
    responses={**_EVENTS, **_OVER, **NOT_FOUND},
)
async def stream_session(
    access: Stream,
    services: InService,
    session_id: UUID,
    resume: Annotated[ResumeParameters, Query()],
    last_event_id: LastEventId = None,
) -> Response:
    """Its entries from the beginning or after `Last-Event-ID`, then live, with pieces of turns, until it ends."""
    last_id = last_event_id or resume.last_event_id
    try:
        opened = await services.live.session(access.scope, session_id, last_id or None)
    except BadResumeId as error:
        raise _bad_id(error) from error
    if opened is None:
        raise not_found(f"session {session_id} is not in the ledger")
    await access.shown(owner_team_id=opened.state["owner_team_id"], filter={"resumed": bool(last_id)})
    return Response(status_code=HTTPStatus.NO_CONTENT) if opened.is_over else EventStream(opened.frames)


@router.get("/stream", response_class=Response, summary="Watch the list", responses=_EVENTS)
async def stream_list(
    access: Stream,
    services: InService,
    which: Annotated[ListStreamParameters, Query()],
    last_event_id: LastEventId = None,
) -> Response:
    """Each session that meets the filter, whenever its state is published anew."""
    asked = which.search()
    asked.require_live()
    try:
        last_id = last_event_id or which.last_event_id or None
        frames = services.live.sessions(access.scope, asked, last_id, which.backfill)
    except BadResumeId as error:
        raise _bad_id(error) from error
    await access.shown(filter={"q": render(asked), "backfill": str(which.backfill)})
    return EventStream(frames)


def _bad_id(error: BadResumeId) -> Problem:
    return invalid([FieldProblem(field="last_event_id", message=str(error))])
