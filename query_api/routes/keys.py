"""API keys: make, list, revoke. What changes is in the audit before it applies."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from procurator.access import Permission, Principal
from procurator.api_keys import ApiKey, new_key
from procurator.clock import now_us
from procurator.query_api.auth import Access, requires
from procurator.query_api.models.common import Page
from procurator.query_api.models.keys import KeyBody, KeyModel, NewKey, key_json
from procurator.query_api.problems import FieldProblem, invalid, not_found
from procurator.query_api.routes.common import (
    NOT_FOUND,
    PROBLEMS,
    InService,
    Nothing,
    answer,
    organisation_of,
    page_of,
)

router = APIRouter(prefix="/v1/keys", tags=["keys"], responses=PROBLEMS)

Reader = Annotated[Access, Depends(requires(Permission.ADMIN, "keys.read"))]
Writer = Annotated[Access, Depends(requires(Permission.ADMIN, "keys.write"))]
KeyId = Annotated[str, Path(pattern="^[a-z0-9]{16}$", examples=["u44ii41qfemx9eku"])]

_DAY_US = 86_400_000_000


@router.get("", response_model=Page[KeyModel], summary="List API keys")
async def list_keys(access: Reader, services: InService, _: Nothing) -> Response:
    """Every key of the organisation, newest first, those that open nothing any more included; never a secret."""
    keys = [key for key in services.keys.keys.values() if _governs(access.principal, key)]
    keys.sort(key=lambda key: (key.created_at, key.key_id), reverse=True)
    await access.shown(item_count=len(keys))
    items = [key_json(key, now_us()) for key in keys]
    return answer(Page[KeyModel].model_validate(page_of(items, None)))


@router.post("", response_model=NewKey, status_code=201, summary="Make an API key")
async def make_key(access: Writer, services: InService, body: KeyBody) -> Response:
    """Make a key. The answer shows it, this once: only its digest is kept."""
    at_us = now_us()
    token, key = new_key(
        name=body.name,
        org_id=organisation_of(access.principal, body.org_id, body.every_organisation, "keys"),
        owner_team_ids=frozenset(body.owner_team_ids),
        permissions=frozenset(body.permissions),
        created_by=access.principal.principal_id,
        now_us=at_us,
        expires_at=None if body.expires_in_days is None else at_us + body.expires_in_days * _DAY_US,
    )
    if not key.principal.scope.reaches_something and _of_sessions(key):
        raise invalid([FieldProblem(field="owner_team_ids", message="name a team, or grant sessions:read:all")])
    shown = key_json(key, at_us)
    await access.shown(resource=key.key_id, item_count=1, details={"change": "create", "key": shown})
    await services.keys.put(key)
    made = NewKey.model_validate({**shown, "key": token})
    return Response(made.model_dump_json(), HTTPStatus.CREATED, media_type="application/json")


@router.delete("/{key_id}", response_model=KeyModel, summary="Revoke an API key", responses=NOT_FOUND)
async def revoke_key(access: Writer, services: InService, key_id: KeyId, _: Nothing) -> Response:
    """Revoke a key for good: every API process knows within a second. The key stays listed."""
    key = services.keys.keys.get(key_id)
    if key is None or not _governs(access.principal, key):
        raise not_found(f"there is no key {key_id}")
    await access.shown(item_count=1, details={"change": "revoke", "name": key.name})
    revoked = key.revoked(access.principal.principal_id, now_us())
    await services.keys.put(revoked)
    return answer(KeyModel.model_validate(key_json(revoked, now_us())))


def _governs(principal: Principal, key: ApiKey) -> bool:
    return principal.org_id is None or principal.org_id == key.org_id


def _of_sessions(key: ApiKey) -> bool:
    return any(permission.startswith("sessions:") for permission in key.permissions)
