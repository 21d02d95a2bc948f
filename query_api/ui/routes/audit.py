"""The audit: who was shown, exported or changed what, and who was refused. Through the API's own route."""

from http import HTTPStatus
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request, Response
from pydantic import ValidationError

from procurator.access import Permission
from procurator.query_api.auth import Access, requires
from procurator.query_api.models.audit import AuditEntry
from procurator.query_api.routes import audit as api
from procurator.query_api.routes.common import InService
from procurator.query_api.ui.in_process import answered
from procurator.query_api.ui.page import PageRoute, Viewer

router = APIRouter(route_class=PageRoute)

Reader = Annotated[Access, Depends(requires(Permission.ADMIN, "audit.read"))]

_FILTERS = ("principal", "action", "outcome", "resource")
_ROWS = 100


@router.get("/audit")
async def audit_page(request: Request, access: Reader, services: InService) -> Response:
    """Audit events, newest first; the filters are those of the API."""
    asked = {name: request.query_params.get(name, "").strip() for name in _FILTERS}
    given = {name: value for name, value in asked.items() if value}
    viewer = Viewer(request, access.principal)
    try:
        which = api.AuditParameters(limit=_ROWS, cursor=request.query_params.get("cursor"), **given)
    except ValidationError as error:
        await access.shown(item_count=0)
        problem = "; ".join(f"{item['loc'][-1]}: {item['msg']}" for item in error.errors())
        return viewer.page(
            "audit.html", HTTPStatus.UNPROCESSABLE_ENTITY, active="audit", asked=asked, entries=[], problem=problem,
            next_href=None, paged=False,
        )  # fmt: skip
    answer = answered(await api.list_audit(access, services, which))
    cursor = answer["next_cursor"]
    return viewer.page(
        "audit.html",
        active="audit",
        asked=asked,
        entries=[AuditEntry.model_validate(item) for item in answer["items"]],
        problem="",
        next_href=f"/audit?{urlencode({**given, 'cursor': cursor})}" if cursor else None,
        paged=which.cursor is not None,
    )
