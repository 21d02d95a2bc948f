"""Webhooks: list, define, change, rotate, test, replay, deliver again, stop, delete. Through the API's own routes."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError
from starlette.datastructures import FormData

from procurator.access import Permission
from procurator.query_api.auth import Access, requires
from procurator.query_api.models.webhooks import (
    BackfillBody,
    NewWebhook,
    NewWebhookBody,
    ReplayBody,
    RotateBody,
    WebhookBody,
    WebhookModel,
    dead_letter_json,
)
from procurator.query_api.problems import Problem
from procurator.query_api.routes import webhooks as api
from procurator.query_api.routes.common import InService, NoParameters
from procurator.query_api.ui.forms import names_in, wrong_fields
from procurator.query_api.ui.in_process import answered
from procurator.query_api.ui.page import PageRoute, Viewer
from procurator.webhooks.endpoint import KINDS, Format

router = APIRouter(prefix="/webhooks", route_class=PageRoute)

Reader = Annotated[Access, Depends(requires(Permission.ADMIN, "webhooks.read"))]
Writer = Annotated[Access, Depends(requires(Permission.ADMIN, "webhooks.write"))]
EndpointId = api.EndpointId

_HOUR_S = 3_600
_LETTERS_SHOWN = 100


@router.get("")
async def list_page(request: Request, access: Reader, services: InService) -> Response:
    """Every endpoint, with how far it is."""
    items = answered(await api.list_webhooks(access, services, NoParameters()))["items"]
    hooks = [WebhookModel.model_validate(item) for item in items]
    return Viewer(request, access.principal).page("webhooks.html", active="webhooks", hooks=hooks)


@router.get("/new")
async def new_page(request: Request, access: Reader) -> Response:
    """An empty definition."""
    await access.shown(details={"page": "new"})
    kinds = WebhookBody.model_fields["kinds"].default
    return _form(request, access, {"kinds": kinds, "enabled": True, "format": Format.JSON}, None)


@router.post("")
async def make(request: Request, access: Writer, services: InService) -> Response:
    """Make an endpoint, and show its secret this once."""
    form = await request.form()
    given = {
        **_document(form),
        "org_id": str(form.get("org_id", "")).strip() or None,
        "every_organisation": "every_organisation" in form,
    }
    try:
        made = answered(await api.make_webhook(access, services, NewWebhookBody.model_validate(given)))
    except (ValidationError, Problem) as error:
        return _form(request, access, given, None, wrong_fields(error))
    return _secret(request, access, made)


@router.get("/{endpoint_id}")
async def hook_page(request: Request, access: Reader, services: InService, endpoint_id: EndpointId) -> Response:
    """One endpoint: how far it is, its last test, what its receiver would not take."""
    hook = WebhookModel.model_validate(answered(await api.read_webhook(access, services, endpoint_id, NoParameters())))
    letters = services.webhooks.dead_letters(endpoint_id)[:_LETTERS_SHOWN]
    return Viewer(request, access.principal).page(
        "webhook.html", active="webhooks", hook=hook, letters=[dead_letter_json(letter) for letter in letters]
    )


@router.get("/{endpoint_id}/edit")
async def edit_page(request: Request, access: Reader, services: InService, endpoint_id: EndpointId) -> Response:
    """A definition to change."""
    hook = answered(await api.read_webhook(access, services, endpoint_id, NoParameters()))
    return _form(request, access, hook, endpoint_id)


@router.post("/{endpoint_id}/edit")
async def change(request: Request, access: Writer, services: InService, endpoint_id: EndpointId) -> Response:
    """Change an endpoint; one that was stopped goes on."""
    given = _document(await request.form())
    try:
        await api.change_webhook(access, services, endpoint_id, WebhookBody.model_validate(given))
    except (ValidationError, Problem) as error:
        return _form(request, access, given, endpoint_id, wrong_fields(error))
    return _back(endpoint_id)


@router.post("/{endpoint_id}/enable")
async def enable(
    access: Writer, services: InService, endpoint_id: EndpointId, on: Annotated[bool, Form()] = False
) -> Response:
    """Stop an endpoint, or let it go on; its position stays."""
    await api.switch(access, services, endpoint_id, on)
    return _back(endpoint_id)


@router.post("/{endpoint_id}/rotate")
async def rotate(
    request: Request,
    access: Writer,
    services: InService,
    endpoint_id: EndpointId,
    overlap_h: Annotated[int, Form(ge=0, le=720)] = 24,
) -> Response:
    """Sign with a new secret, shown this once."""
    body = RotateBody(overlap_s=overlap_h * _HOUR_S)
    return _secret(request, access, answered(await api.rotate_secret(access, services, endpoint_id, body)))


@router.post("/{endpoint_id}/test")
async def test(access: Writer, services: InService, endpoint_id: EndpointId) -> Response:
    """Ask for a test delivery."""
    await api.ask_for_test(access, services, endpoint_id, NoParameters())
    return _back(endpoint_id)


@router.post("/{endpoint_id}/replay")
async def replay(
    access: Writer,
    services: InService,
    endpoint_id: EndpointId,
    sequence: Annotated[int | None, Form(ge=0, le=2**53)] = None,
) -> Response:
    """Ask for one dead letter, or for all of them, to be delivered again."""
    await api.replay(access, services, endpoint_id, ReplayBody(sequence=sequence))
    return _back(endpoint_id)


@router.post("/{endpoint_id}/backfill")
async def backfill(
    request: Request, access: Writer, services: InService, endpoint_id: EndpointId, since: Annotated[datetime, Form()]
) -> Response:
    """Ask for everything since a time, in the viewer's zone unless it has one, to be delivered again."""
    zone = since.tzinfo or Viewer(request, access.principal).clock.zone
    await api.backfill(access, services, endpoint_id, BackfillBody(from_time=since.replace(tzinfo=zone)))
    return _back(endpoint_id)


@router.post("/{endpoint_id}/delete")
async def delete(access: Writer, services: InService, endpoint_id: EndpointId) -> Response:
    """Delete an endpoint for good."""
    await api.delete_webhook(access, services, endpoint_id, NoParameters())
    return RedirectResponse("/webhooks", HTTPStatus.SEE_OTHER)


def _document(form: FormData) -> dict[str, Any]:
    """Return the definition in a form, as the API takes it."""
    texts = {name: str(form.get(name, "")).strip() for name in ("name", "url", "format")}
    lists = {name: names_in(form.get(name)) for name in ("owner_team_ids", "agent_ids")}
    token = str(form.get("token", "")).strip() or None
    return {**texts, **lists, "kinds": form.getlist("kinds"), "enabled": "enabled" in form, "token": token}


def _form(
    request: Request,
    access: Access,
    values: dict[str, Any],
    endpoint_id: str | None,
    errors: dict[str, str] | None = None,
) -> Response:
    return Viewer(request, access.principal).page(
        "webhook_form.html",
        HTTPStatus.UNPROCESSABLE_ENTITY if errors else HTTPStatus.OK,
        active="webhooks",
        values=values,
        endpoint_id=endpoint_id,
        errors=errors or {},
        kinds=KINDS,
        formats=list(Format),
    )


def _secret(request: Request, access: Access, made: dict[str, Any]) -> Response:
    hook = NewWebhook.model_validate(made)
    return Viewer(request, access.principal).page("webhook_secret.html", active="webhooks", hook=hook)


def _back(endpoint_id: str) -> Response:
    return RedirectResponse(f"/webhooks/{endpoint_id}", HTTPStatus.SEE_OTHER)
