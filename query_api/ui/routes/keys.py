"""API keys: list, make, revoke. Through the API's own routes."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError
from starlette.datastructures import FormData

from procurator.access import Permission
from procurator.query_api.auth import Access, requires
from procurator.query_api.models.keys import KeyBody, KeyModel, NewKey
from procurator.query_api.problems import Problem
from procurator.query_api.routes import keys as api
from procurator.query_api.routes.common import InService, NoParameters
from procurator.query_api.ui.forms import names_in, wrong_fields
from procurator.query_api.ui.in_process import answered
from procurator.query_api.ui.page import PageRoute, Viewer

router = APIRouter(prefix="/keys", route_class=PageRoute)

Reader = Annotated[Access, Depends(requires(Permission.ADMIN, "keys.read"))]
Writer = Annotated[Access, Depends(requires(Permission.ADMIN, "keys.write"))]


@router.get("")
async def list_page(request: Request, access: Reader, services: InService) -> Response:
    """Every key of the organisation, and the form that makes one."""
    answer = answered(await api.list_keys(access, services, NoParameters()))
    keys = [KeyModel.model_validate(item) for item in answer["items"]]
    return _page(request, access, keys=keys)


@router.post("")
async def make(request: Request, access: Writer, services: InService) -> Response:
    """Make a key, and show it this once."""
    form = await request.form()
    try:
        made = NewKey.model_validate(answered(await api.make_key(access, services, _body(form))))
    except (ValidationError, Problem) as error:
        wrong = wrong_fields(error)
        return _page(request, access, HTTPStatus.UNPROCESSABLE_ENTITY, values=form, errors=wrong)
    return _page(request, access, made=made)


@router.post("/{key_id}/revoke")
async def revoke(
    access: Writer, services: InService, key_id: Annotated[str, Path(pattern="^[a-z0-9]{16}$")]
) -> Response:
    """Revoke a key for good."""
    await api.revoke_key(access, services, key_id, NoParameters())
    return RedirectResponse("/keys", HTTPStatus.SEE_OTHER)


def _body(form: FormData) -> KeyBody:
    """Return the key in a form. Raises ValidationError."""
    given: dict[str, Any] = {
        "name": form.get("name", ""),
        "permissions": form.getlist("permissions"),
        "owner_team_ids": names_in(form.get("owner_team_ids")),
        "org_id": str(form.get("org_id", "")).strip() or None,
        "expires_in_days": str(form.get("expires_in_days", "")).strip() or None,
    }
    return KeyBody.model_validate(given)


def _page(
    request: Request, access: Access, status: HTTPStatus = HTTPStatus.OK, values: Any = None, **context: Any
) -> Response:
    shown = {"keys": None, "made": None, "errors": {}, **context}
    return Viewer(request, access.principal).page(
        "keys.html", status, active="keys", values=values or {}, permissions=list(Permission), **shown
    )
