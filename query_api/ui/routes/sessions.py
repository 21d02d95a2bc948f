"""The list of sessions."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import ValidationError

from procurator.access import Permission
from procurator.query_api.auth import Access, requires
from procurator.query_api.models.search import FoundSession, Totals
from procurator.query_api.models.sessions import Status
from procurator.query_api.queries.sessions import ListSessions
from procurator.query_api.routes import sessions as api
from procurator.query_api.routes.common import InService, PageParameters
from procurator.query_api.routes.filters import FilterParameters
from procurator.query_api.search import SearchError, SessionFilter, parse, render
from procurator.query_api.ui.in_process import answered
from procurator.query_api.ui.page import PageRoute, Viewer, made_while
from procurator.query_api.ui.views import sessions as view

router = APIRouter(route_class=PageRoute)

Search = Annotated[Access, Depends(requires(Permission.SESSIONS_READ, "sessions.search"))]

ROWS = 50
_OWN = frozenset({"q", "sort", "cursor", "day_from", "day_to"})


@router.get("/sessions")
async def list_page(request: Request, access: Search, services: InService) -> Response:
    """The sessions of a search. What the form picked becomes part of the search's text, and the address with it."""
    viewer = Viewer(request, access.principal)
    asked = request.query_params
    try:
        search = _search(viewer)
    except SearchError as error:
        await access.shown(item_count=0)
        return _page(viewer, asked.get("q", ""), SessionFilter(), problem=error, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    sort = asked.get("sort", "")
    if render(search) != asked.get("q", "") or asked.keys() - {"q", "sort", "cursor"}:
        await access.shown(item_count=0)
        return RedirectResponse(view.address(search, sort, asked.get("cursor")), HTTPStatus.SEE_OTHER)
    return await _found(viewer, access, services, search, sort, asked.get("cursor"))


@router.get("/sessions/facets")
async def facets_part(request: Request, access: Search, services: InService, sort: str = "") -> Response:
    """Totals and counts of a search, beside the list: whoever reads the list need not wait for them."""
    viewer = Viewer(request, access.principal)
    search = _search(viewer)
    counts = answered(await api.read_facets(access, services, search))
    return viewer.fragment(
        "sessions_facets.html",
        totals=Totals.model_validate(counts["totals"]),
        facets=view.facets(search, sort, counts),
    )


async def _found(
    viewer: Viewer, access: Access, services: InService, search: SessionFilter, sort: str, cursor: str | None
) -> Response:
    by, order = view.sorting(sort)
    query = ListSessions(scope=access.scope, search=search, sort=by, order=order)
    rows, following = await api.found_page(services, query, PageParameters(limit=ROWS, cursor=cursor))
    return await made_while(
        access.shown(item_count=len(rows), filter={"q": render(search), "sort": by, "order": order}),
        lambda: _page(
            viewer,
            render(search),
            search,
            sort=sort,
            rows=[FoundSession.model_validate(row) for row in rows],
            next_href=view.address(search, sort, following) if following else None,
            paged=cursor is not None,
        ),
    )


def _search(viewer: Viewer) -> SessionFilter:
    """Return what the address asks for: its text, and what was picked beside it. Raises SearchError."""
    asked = viewer.request.query_params
    given: dict[str, Any] = {}
    for name, value in asked.multi_items():
        if value and name not in _OWN:
            field = FilterParameters.model_fields.get(name)
            if field is not None and field.default_factory is list:
                given.setdefault(name, []).append(value)
            else:
                given[name] = value
    try:
        picked = FilterParameters(**given).search()
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][-1])
        raise SearchError(name, f"{name}: there is no such filter", "agent:billing cost>0.5") from None
    days = view.days(asked.get("day_from", ""), asked.get("day_to", ""), viewer.clock.zone)
    return parse(asked.get("q", "")) & picked & days


def _page(
    viewer: Viewer, query: str, search: SessionFilter, status: HTTPStatus = HTTPStatus.OK, **context: Any
) -> HTMLResponse:
    sort = context.pop("sort", "")
    shown = {
        "problem": None,
        "rows": [],
        "paged": False,
        "next_href": None,
        "may_export": viewer.principal is not None and viewer.principal.may(Permission.SESSIONS_EXPORT),
        "live": _can_be_watched(search),
        **context,
    }
    return viewer.page(
        "sessions.html",
        status,
        active="sessions",
        query=query,
        sort=sort,
        chips=view.chips(search, sort),
        heads=view.heads(search, sort),
        first_href=view.address(search, sort),
        statuses=[status.value for status in Status],
        **shown,
    )


def _can_be_watched(search: SessionFilter) -> bool:
    try:
        search.require_live()
    except SearchError:
        return False
    return True
