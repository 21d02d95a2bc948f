"""Sessions: the list, its facets, the detail, the children."""

import asyncio
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field

from procurator.access import Permission
from procurator.query_api import matches
from procurator.query_api.auth import Access, requires
from procurator.query_api.models.common import Page
from procurator.query_api.models.search import Facets, FoundSession
from procurator.query_api.models.sessions import SessionDetail
from procurator.query_api.problems import not_found
from procurator.query_api.queries.facets import CountByListed, CountByName, SessionTotals
from procurator.query_api.queries.sessions import ListSessions, Order, SessionExists, Sort
from procurator.query_api.routes.common import (
    NOT_FOUND,
    PROBLEMS,
    InService,
    Nothing,
    PageParameters,
    WhichPage,
    answer,
    page_of,
)
from procurator.query_api.routes.filters import FilterParameters, InFilter
from procurator.query_api.search import SessionFilter, render
from procurator.query_api.services import Services

router = APIRouter(prefix="/v1", tags=["sessions"], responses=PROBLEMS)

Search = Annotated[Access, Depends(requires(Permission.SESSIONS_READ, "sessions.search"))]
Read = Annotated[Access, Depends(requires(Permission.SESSIONS_READ, "sessions.read"))]


class ListParameters(FilterParameters, PageParameters):
    """Which sessions, in which order, which page."""

    sort: Sort = Field(Sort.STARTED, description="What to order by; sessions of which it is unknown stand last.")
    order: Order = Field(Order.DESC, description="Which way.")


@router.get("/sessions", response_model=Page[FoundSession], summary="List and search sessions")
async def list_sessions(
    access: Search, services: InService, parameters: Annotated[ListParameters, Query()]
) -> Response:
    """Sessions that meet all that is given, newest start first unless told otherwise; with hits for words searched.

    From the published state, which lags the ledger by a fraction of a second. A page may be short of ``limit`` and yet
    have a successor: go by ``next_cursor``.
    """
    search = parameters.search()
    query = ListSessions(scope=access.scope, search=search, sort=parameters.sort, order=parameters.order)
    rows, next_cursor = await found_page(services, query, parameters)
    await access.shown(item_count=len(rows), filter=_audited(search, sort=parameters.sort, order=parameters.order))
    return answer(Page[FoundSession].model_validate(page_of(rows, next_cursor)))


@router.get("/sessions/facets", response_model=Facets, summary="Count sessions by value")
async def read_facets(access: Search, services: InService, search: InFilter) -> Response:
    """Totals over the sessions that meet the filter, and how many have which status, agent, team, model, tool."""
    scope = access.scope
    [totals], by_name, by_listed = await asyncio.gather(
        services.store.rows(SessionTotals(scope=scope, search=search)),
        services.store.rows(CountByName(scope=scope, search=search)),
        services.store.rows(CountByListed(scope=scope, search=search)),
    )
    counts: dict[str, list[Any]] = {name: [] for name in Facets.model_fields if name != "totals"}
    for row in (*by_name, *by_listed):
        counts[row["facet"]].append({"value": row["value"], "sessions": row["found"]})
    await access.shown(item_count=totals["sessions"], filter=_audited(search))
    return answer(Facets.model_validate({"totals": totals, **counts}))


@router.get(
    "/sessions/{session_id}/children",
    response_model=Page[FoundSession],
    summary="List the sessions it started",
    responses=NOT_FOUND,
)
async def list_children(access: Read, services: InService, session_id: UUID, which: WhichPage) -> Response:
    """Sessions that this one started over A2A, newest start first."""
    search = SessionFilter.of(parent=str(session_id))
    rows, next_cursor = await found_page(services, ListSessions(scope=access.scope, search=search), which)
    if not rows and not await services.store.rows(SessionExists(scope=access.scope, session_id=session_id)):
        raise not_found(f"session {session_id} is not in the ledger")
    await access.shown(item_count=len(rows))
    return answer(Page[FoundSession].model_validate(page_of(rows, next_cursor)))


@router.get("/sessions/{session_id}", response_model=SessionDetail, summary="Read a session", responses=NOT_FOUND)
async def read_session(access: Read, services: InService, session_id: UUID, _: Nothing) -> Response:
    """One session as of its last event in the ledger, be the published state behind or not yet there."""
    record = await services.sessions.read(access.scope, session_id)
    if record is None:
        raise not_found(f"session {session_id} is not in the ledger")
    await access.shown(owner_team_id=record["owner_team_id"])
    return answer(SessionDetail.model_validate(services.liveness.shown(record)))


async def found_page(
    services: Services, query: ListSessions, which: PageParameters
) -> tuple[list[dict[str, Any]], str | None]:
    """Return one page of sessions as the list shows them, and the cursor of the next."""
    query = which.of(query)
    rows, next_cursor = await matches.page(services.store, query)
    return [services.liveness.shown(row) for row in rows], next_cursor


def _audited(search: SessionFilter, **others: str) -> dict[str, str]:
    """Return what the audit says was searched: the whole filter as text, wherever its parts came from."""
    return {"q": render(search), **others}
