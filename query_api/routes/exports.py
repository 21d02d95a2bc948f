"""Exports: one session as a file that proves itself, many as a job (docs/export.md)."""

import asyncio
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Response
from fastapi.responses import FileResponse

from procurator.access import Permission
from procurator.clock import now_us, to_rfc3339
from procurator.errors import Backpressure, UserError
from procurator.query_api.auth import Access, requires
from procurator.query_api.export.job import Job
from procurator.query_api.export.single import not_proven, schema
from procurator.query_api.idempotency import once
from procurator.query_api.models.common import Page
from procurator.query_api.models.exports import Export, ExportRequest, shown
from procurator.query_api.problems import Problem, not_found, responses
from procurator.query_api.queries.export import SessionCosts, SessionEntries
from procurator.query_api.routes.common import NOT_FOUND, PROBLEMS, InService, Nothing, answer, page_of
from procurator.query_api.search import SearchError, parse
from procurator.query_api.services import Services
from procurator.verify.export_format import render_export

router = APIRouter(prefix="/v1", tags=["exports"], responses=PROBLEMS)

ExportOne = Annotated[Access, Depends(requires(Permission.SESSIONS_EXPORT, "sessions.export"))]
Create = Annotated[Access, Depends(once(requires(Permission.SESSIONS_EXPORT, "exports.create")))]
Read = Annotated[Access, Depends(requires(Permission.SESSIONS_EXPORT, "exports.read"))]
Download = Annotated[Access, Depends(requires(Permission.SESSIONS_EXPORT, "exports.download"))]
Delete = Annotated[Access, Depends(requires(Permission.SESSIONS_EXPORT, "exports.delete"))]
ReadSchema = Annotated[Access, Depends(requires(Permission.SESSIONS_READ, "schemas.read"))]

_FILE: dict[int | str, dict[str, Any]] = {200: {"content": {"application/octet-stream": {}}, "description": "The file"}}


@router.get("/sessions/{session_id}/export", response_class=Response, summary="Export a session", responses=NOT_FOUND)
async def export_session(access: ExportOne, services: InService, session_id: UUID, _: Nothing) -> Response:
    """The session with all payloads, leaves and proofs, as far as it is signed; for `procurator verify bundle`."""
    session = await services.sessions.read(access.scope, session_id)
    if session is None:
        raise not_found(f"session {session_id} is not in the ledger")
    try:
        bundle = await services.proofs.bundle(session_id, access.scope)
    except UserError as error:
        raise not_found(str(error)) from error
    charges = await services.store.rows(SessionCosts(scope=access.scope, session_id=session_id))
    [count] = await services.store.rows(SessionEntries(scope=access.scope, session_id=session_id))
    beside = not_proven(bundle, session, charges, count["entries"], to_rfc3339(now_us()))
    data = await asyncio.to_thread(render_export, bundle, beside)
    details = {"format": "json", "bytes": len(data)}
    await access.shown(owner_team_id=session["owner_team_id"], item_count=count["entries"], details=details)
    headers = {"Content-Disposition": f'attachment; filename="session-{session_id}.export.json"'}
    return Response(data, headers=headers, media_type="application/json")


@router.get("/schemas/export.json", response_class=Response, summary="Read the schema of a session's export")
async def export_schema(access: ReadSchema, _: Nothing) -> Response:
    """JSON Schema (2020-12)."""
    await access.shown(resource="export.json")
    return Response(orjson.dumps(schema()), media_type="application/schema+json")


@router.post(
    "/exports",
    response_model=Export,
    status_code=202,
    summary="Export many sessions",
    responses=responses(HTTPStatus.CONFLICT),
)
async def begin(access: Create, services: InService, request: ExportRequest) -> Response:
    """Begin a job over the sessions that a filter finds now, with their entries up to now."""
    try:
        parse(request.filter)
    except SearchError as error:
        raise SearchError("filter", error.message, error.example.removeprefix("q=")) from error
    await access.shown(filter=request.model_dump(mode="json"))
    try:
        job = await services.exports.begin(access.principal, request.filter, request.format, request.directory)
    except Backpressure as error:
        raise Problem(HTTPStatus.CONFLICT, "too-many-exports", "Too many exports", str(error)) from error
    return Response(shown(job).model_dump_json(), HTTPStatus.ACCEPTED, media_type="application/json")


@router.get("/exports", response_model=Page[Export], summary="List exports")
async def list_exports(access: Read, services: InService, _: Nothing) -> Response:
    """Your exports, the newest first; an administrator's list has everybody's of the organisation."""
    jobs = await services.exports.visible(access.principal)
    await access.shown(item_count=len(jobs))
    return answer(Page[Export].model_validate(page_of([*map(shown, jobs)], None)))


@router.get("/exports/{export_id}", response_model=Export, summary="Read an export", responses=NOT_FOUND)
async def read_export(access: Read, services: InService, export_id: UUID, _: Nothing) -> Response:
    """How far an export is, and its files."""
    job = await _find(services, access, export_id)
    await access.shown(item_count=job.events_done, filter={"q": job.filter}, details={"status": job.status})
    return answer(shown(job))


@router.get(
    "/exports/{export_id}/files/{name}",
    response_class=Response,
    summary="Download a file",
    responses={**_FILE, **NOT_FOUND},
)
async def download(access: Download, services: InService, export_id: UUID, name: str, _: Nothing) -> Response:
    """One of the files that are complete."""
    job = await _find(services, access, export_id)
    path = await asyncio.to_thread(services.exports.store.file, job, name)
    if path is None:
        raise not_found(f"export {export_id} has no file {name[:100]!r}")
    rows = next((file.rows for file in job.files if file.name == name), None)
    await access.shown(item_count=rows, filter={"q": job.filter}, details={"file": name})
    return FileResponse(path, media_type="application/octet-stream", filename=name)


@router.delete("/exports/{export_id}", status_code=204, summary="Cancel or remove an export", responses=NOT_FOUND)
async def end(access: Delete, services: InService, export_id: UUID, _: Nothing) -> Response:
    """Cancel an export that is unfinished; remove one that is finished, with its files."""
    job = await _find(services, access, export_id)
    await access.shown(details={"status": job.status})
    # Anew: meanwhile it may have come to its end.
    await services.exports.end(await _find(services, access, export_id))
    return Response(status_code=HTTPStatus.NO_CONTENT)


async def _find(services: Services, access: Access, export_id: UUID) -> Job:
    job = await services.exports.find(access.principal, str(export_id))
    if job is None:
        raise not_found(f"there is no export {export_id}")
    return job
