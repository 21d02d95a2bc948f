"""Bulk exports: begin one over a search, watch it, download its files. Through the API's own routes."""

from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from procurator.access import Permission
from procurator.query_api.auth import Access, requires
from procurator.query_api.export.job import FileFormat
from procurator.query_api.models.exports import Export, ExportRequest
from procurator.query_api.problems import Problem
from procurator.query_api.routes import exports as api
from procurator.query_api.routes.common import InService, NoParameters
from procurator.query_api.search import SearchError
from procurator.query_api.ui.in_process import answered
from procurator.query_api.ui.page import PageRoute, Viewer

router = APIRouter(prefix="/exports", route_class=PageRoute)

Create = Annotated[Access, Depends(requires(Permission.SESSIONS_EXPORT, "exports.create"))]
Read = Annotated[Access, Depends(requires(Permission.SESSIONS_EXPORT, "exports.read"))]
Delete = Annotated[Access, Depends(requires(Permission.SESSIONS_EXPORT, "exports.delete"))]


@router.get("")
async def list_page(request: Request, access: Read, services: InService, filter: str = "") -> Response:
    """Your exports, and the form that begins one; ``filter`` fills it in."""
    items = answered(await api.list_exports(access, services, NoParameters()))["items"]
    jobs = [Export.model_validate(item) for item in items]
    return _page(request, access, jobs=jobs, filter=filter)


@router.post("")
async def begin(
    request: Request,
    access: Create,
    services: InService,
    filter: Annotated[str, Form()] = "",
    format: Annotated[str, Form()] = FileFormat.NDJSON,
) -> Response:
    """Begin an export."""
    try:
        await api.begin(access, services, ExportRequest.model_validate({"filter": filter.strip(), "format": format}))
    except (SearchError, ValidationError, Problem) as error:
        if isinstance(error, Problem) and error.status != HTTPStatus.CONFLICT:
            raise
        return _page(request, access, HTTPStatus.UNPROCESSABLE_ENTITY, filter=filter, problem=str(error))
    return RedirectResponse("/exports", HTTPStatus.SEE_OTHER)


@router.post("/{export_id}/delete")
async def end(access: Delete, services: InService, export_id: UUID) -> Response:
    """Cancel an export that is unfinished; remove a finished one."""
    await api.end(access, services, export_id, NoParameters())
    return RedirectResponse("/exports", HTTPStatus.SEE_OTHER)


def _page(request: Request, access: Access, status: HTTPStatus = HTTPStatus.OK, **context: Any) -> Response:
    shown = {"jobs": [], "filter": "", "problem": "", **context}
    return Viewer(request, access.principal).page(
        "exports.html",
        status,
        active="exports",
        formats=list(FileFormat),
        under_way=any(job.completed_at is None for job in shown["jobs"]),
        **shown,
    )
