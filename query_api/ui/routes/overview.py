"""The overview: what runs, what it costs, what fails; each figure leads to the list that explains it."""

import asyncio
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from procurator.access import Permission
from procurator.query_api.auth import Access, requires
from procurator.query_api.routes.common import InService
from procurator.query_api.ui.formats import integer, money
from procurator.query_api.ui.page import PageRoute, Viewer, made_while
from procurator.query_api.ui.queries.overview import ByHour, OpenNow, ToolFailures, TopAgents
from procurator.query_api.ui.routes.budgets import shares_of
from procurator.query_api.ui.views import charts

router = APIRouter(route_class=PageRoute)

Search = Annotated[Access, Depends(requires(Permission.SESSIONS_READ, "sessions.search"))]

_HOURS = 24
_BUDGETS_SHOWN = 6


@router.get("/")
async def overview(request: Request, access: Search, services: InService) -> Response:
    """The last 24 hours, and what is open now."""
    viewer = Viewer(request, access.principal)
    since = viewer.clock.now - timedelta(hours=_HOURS)
    scope, rows = access.scope, services.store.rows
    [counts], by_hour, agents, tools = await asyncio.gather(
        rows(OpenNow(scope=scope)),
        rows(ByHour(scope=scope, since=since)),
        rows(TopAgents(scope=scope, since=since)),
        rows(ToolFailures(scope=scope, since=since)),
    )
    clock = viewer.clock
    return await made_while(
        access.shown(filter={"page": "overview", "since": since.isoformat()}),
        lambda: viewer.page(
            "overview.html",
            active="overview",
            counts=counts,
            since=since.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            spent=charts.total(by_hour, "cost"),
            unpriced=int(charts.total(by_hour, "unpriced")),
            started=int(charts.total(by_hour, "started")),
            failed=int(charts.total(by_hour, "failed")),
            cost_hours=charts.hours(by_hour, "cost", clock, since, money),
            failed_hours=charts.hours(by_hour, "failed", clock, since, integer),
            error_hours=charts.hours(by_hour, "tool_errors", clock, since, integer),
            tool_errors=int(charts.total(by_hour, "tool_errors")),
            agents=agents,
            tools=tools,
            budgets=shares_of(services, access.principal)[:_BUDGETS_SHOWN],
        ),
    )
