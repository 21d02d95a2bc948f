"""Webhooks: make, list, change, rotate, test, replay, back-fill, delete (docs/webhooks.md).

Whatever changes is in the audit before it applies. The forwarder does what is asked for here; this API sends nothing.
"""

import contextlib
import ipaddress
import secrets
from http import HTTPStatus
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Depends, Path, Response

from procurator.access import Permission, Principal
from procurator.clock import now_us, to_us
from procurator.errors import UserError
from procurator.query_api.auth import Access, requires
from procurator.query_api.models.common import Page
from procurator.query_api.models.webhooks import (
    BackfillBody,
    DeadLetterModel,
    NewWebhook,
    NewWebhookBody,
    ReplayBody,
    RotateBody,
    WebhookBody,
    WebhookModel,
    dead_letter_json,
    webhook_json,
)
from procurator.query_api.problems import FieldProblem, Problem, invalid, not_found, responses
from procurator.query_api.routes.common import (
    NOT_FOUND,
    PROBLEMS,
    InService,
    Nothing,
    answer,
    organisation_of,
    page_of,
)
from procurator.query_api.services import Services
from procurator.webhooks.addresses import AddressPolicy, parse_url, same_receiver
from procurator.webhooks.endpoint import KINDS, Endpoint, Filter, Format, Request, RequestKind, Secret
from procurator.webhooks.signature import new_secret, secret_bytes

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], responses=PROBLEMS)

Reader = Annotated[Access, Depends(requires(Permission.ADMIN, "webhooks.read"))]
Writer = Annotated[Access, Depends(requires(Permission.ADMIN, "webhooks.write"))]
EndpointId = Annotated[str, Path(pattern="^[a-z0-9]{16}$", examples=["u44ii41qfemx9eku"])]

#: Of one organisation, and of the operator.
ENDPOINTS_MAX = 1_000


@router.get("", response_model=Page[WebhookModel], summary="List webhooks")
async def list_webhooks(access: Reader, services: InService, _: Nothing) -> Response:
    """Every endpoint of the organisation, newest first, with how far it is; never a secret."""
    found = [each for each in list(services.webhooks.endpoints.values()) if _governs(access.principal, each)]
    found.sort(key=lambda each: (each.created_at, each.endpoint_id), reverse=True)
    await access.shown(item_count=len(found))
    return answer(Page[WebhookModel].model_validate(page_of([_json(services, each) for each in found], None)))


@router.post(
    "",
    response_model=NewWebhook,
    status_code=201,
    summary="Make a webhook",
    responses=responses(HTTPStatus.CONFLICT),
)
async def make_webhook(access: Writer, services: InService, body: NewWebhookBody) -> Response:
    """Make an endpoint; it gets what comes from now on. The answer shows the signing secret, this once."""
    org_id = organisation_of(access.principal, body.org_id, body.every_organisation, "webhooks")
    at_us, by, endpoint_id = now_us(), access.principal.principal_id, secrets.token_hex(8)
    secret = _secret(body.secret)
    fields = _fields(services, body, endpoint_id, None)
    if body.format == Format.SPLUNK_HEC and body.token is None:
        raise invalid([FieldProblem(field="token", message="an HTTP Event Collector takes nothing without its token")])
    sealed = Secret(services.webhooks.vault.seal(secret_bytes(secret), endpoint_id), at_us)
    endpoint = Endpoint(
        **fields,
        endpoint_id=endpoint_id,
        org_id=org_id,
        secrets=(sealed,),
        requests=(),
        revision=0,
        created_at=at_us,
        created_by=by,
        changed_at=at_us,
        changed_by=by,
    )
    async with services.webhooks.changing:
        own = sum(each.org_id == org_id for each in services.webhooks.endpoints.values())
        if own >= ENDPOINTS_MAX:
            detail = f"there are {ENDPOINTS_MAX:,} webhooks, which is the most: delete one"
            raise Problem(HTTPStatus.CONFLICT, "too-many-webhooks", "Too many webhooks", detail)
        await _put(access, services, endpoint, "create")
    made = NewWebhook.model_validate({**_json(services, endpoint), "secret": secret})
    return Response(made.model_dump_json(), HTTPStatus.CREATED, media_type="application/json")


@router.get("/{endpoint_id}", response_model=WebhookModel, summary="Read a webhook", responses=NOT_FOUND)
async def read_webhook(access: Reader, services: InService, endpoint_id: EndpointId, _: Nothing) -> Response:
    """One endpoint: what it gets, how far it is, what went wrong last."""
    endpoint = find(services, access.principal, endpoint_id)
    await access.shown(item_count=1)
    return _shown(services, endpoint)


@router.put("/{endpoint_id}", response_model=WebhookModel, summary="Change a webhook", responses=NOT_FOUND)
async def change_webhook(access: Writer, services: InService, endpoint_id: EndpointId, body: WebhookBody) -> Response:
    """Replace what an endpoint is to be; one that was stopped goes on. Position and numbers stay."""
    async with services.webhooks.changing:
        endpoint = find(services, access.principal, endpoint_id)
        fields = _fields(services, body, endpoint_id, endpoint)
        changed = endpoint.changed(access.principal.principal_id, now_us(), **fields)
        await _put(access, services, changed, "change")
    return _shown(services, changed)


async def switch(access: Access, services: Services, endpoint_id: str, on: bool) -> None:
    """Stop an endpoint, or let it go on, as it is: also one whose URL would not be taken any more."""
    async with services.webhooks.changing:
        endpoint = find(services, access.principal, endpoint_id)
        changed = endpoint.changed(access.principal.principal_id, now_us(), enabled=on)
        await _put(access, services, changed, "change")


@router.delete("/{endpoint_id}", status_code=204, summary="Delete a webhook", responses=NOT_FOUND)
async def delete_webhook(access: Writer, services: InService, endpoint_id: EndpointId, _: Nothing) -> Response:
    """Delete an endpoint for good, with its position and its dead letters."""
    async with services.webhooks.changing:
        endpoint = find(services, access.principal, endpoint_id)
        await access.shown(item_count=1, details={"change": "delete", "name": endpoint.name})
        await services.webhooks.remove(endpoint_id)
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.post("/{endpoint_id}/rotate", response_model=NewWebhook, summary="Rotate a secret", responses=NOT_FOUND)
async def rotate_secret(
    access: Writer, services: InService, endpoint_id: EndpointId, body: RotateBody | None = None
) -> Response:
    """Sign with a new secret, shown this once, and for the overlap with the old one too."""
    body = body or RotateBody()
    secret = _secret(body.secret)
    sealed = services.webhooks.vault.seal(secret_bytes(secret), endpoint_id)
    async with services.webhooks.changing:
        endpoint = find(services, access.principal, endpoint_id)
        rotated = endpoint.rotated(sealed, body.overlap_s * 1_000_000, access.principal.principal_id, now_us())
        await _put(access, services, rotated, "rotate", overlap_s=body.overlap_s)
    return answer(NewWebhook.model_validate({**_json(services, rotated), "secret": secret}))


@router.post(
    "/{endpoint_id}/test", response_model=WebhookModel, status_code=202, summary="Test a webhook", responses=NOT_FOUND
)
async def ask_for_test(access: Writer, services: InService, endpoint_id: EndpointId, _: Nothing) -> Response:
    """Ask for a test delivery, whatever state the endpoint is in; `last_test` then says how it went."""
    return await _ask(access, services, endpoint_id, RequestKind.TEST)


@router.post(
    "/{endpoint_id}/replay",
    response_model=WebhookModel,
    status_code=202,
    summary="Replay dead letters",
    responses=NOT_FOUND,
)
async def replay(
    access: Writer, services: InService, endpoint_id: EndpointId, body: ReplayBody | None = None
) -> Response:
    """Ask for dead letters to be delivered again, with the numbers they had; one that is taken is none any more."""
    return await _ask(access, services, endpoint_id, RequestKind.REPLAY, sequence=body.sequence if body else None)


@router.post(
    "/{endpoint_id}/backfill",
    response_model=WebhookModel,
    status_code=202,
    summary="Deliver from an earlier point",
    responses=NOT_FOUND,
)
async def backfill(access: Writer, services: InService, endpoint_id: EndpointId, body: BackfillBody) -> Response:
    """Ask for everything from a time, or from a place in one log on, to be delivered again under new numbers."""
    by_time, by_place = body.from_time is not None, body.log_id is not None and body.offset is not None
    if by_time == by_place or (body.log_id is None) != (body.offset is None):
        raise invalid([FieldProblem(field="from_time", message="give either from_time, or log_id and offset")])
    if body.from_time is not None and body.from_time.tzinfo is None:
        raise invalid([FieldProblem(field="from_time", message="needs its zone: for example 2026-11-22T16:08:00Z")])
    if body.log_id is not None and body.log_id not in services.webhooks.log_ids:
        message = f"{body.log_id!r} is no log that is delivered from: take log_id and offset of a delivered entry"
        raise invalid([FieldProblem(field="log_id", message=message)])
    from_us = None if body.from_time is None else max(0, to_us(body.from_time))
    place = {"log_id": body.log_id, "offset": body.offset}
    return await _ask(access, services, endpoint_id, RequestKind.BACKFILL, from_time=from_us, **place)


@router.get(
    "/{endpoint_id}/dead-letters",
    response_model=Page[DeadLetterModel],
    summary="List dead letters",
    responses=NOT_FOUND,
)
async def list_dead_letters(access: Reader, services: InService, endpoint_id: EndpointId, _: Nothing) -> Response:
    """Batches that the receiver would not take, by their numbers; `replay` delivers them again."""
    find(services, access.principal, endpoint_id)
    items = [dead_letter_json(letter) for letter in services.webhooks.dead_letters(endpoint_id)]
    await access.shown(item_count=len(items))
    return answer(Page[DeadLetterModel].model_validate(page_of(items, None)))


def find(services: Services, principal: Principal, endpoint_id: str) -> Endpoint:
    """Return an endpoint that the caller governs. Raises the problem 404."""
    endpoint = services.webhooks.endpoints.get(endpoint_id)
    if endpoint is None or not _governs(principal, endpoint):
        raise not_found(f"there is no webhook {endpoint_id}")
    return endpoint


def _governs(principal: Principal, endpoint: Endpoint) -> bool:
    return principal.org_id is None or principal.org_id == endpoint.org_id


def _secret(own: str | None) -> str:
    """Return the caller's own secret, once it is known to be one, or a new one."""
    try:
        secret_bytes(secret := own or new_secret())
    except UserError as error:
        raise invalid([FieldProblem(field="secret", message=str(error))]) from None
    return secret


def _fields(services: Services, body: WebhookBody, endpoint_id: str, before: Endpoint | None) -> dict[str, Any]:
    """Return the fields of an `Endpoint` that a body decides. Raises the problem 422."""
    if unknown := sorted(set(body.kinds) - set(KINDS)):
        message = f"{unknown[0][:100]!r} is no kind of entry: {', '.join(KINDS)}"
        raise invalid([FieldProblem(field="kinds", message=message)])
    chosen = Filter(frozenset(body.kinds), frozenset(body.owner_team_ids), frozenset(body.agent_ids))
    if problem := chosen.problem:
        raise invalid([FieldProblem(field=problem[0], message=problem[1])])
    _require_reachable(services.webhooks.policy, body.url)
    token = before and before.token
    if body.token is not None:
        token = services.webhooks.vault.seal(body.token.encode(), endpoint_id)
    elif before and token and not same_receiver(body.url, before.url):
        raise invalid([FieldProblem(field="token", message="give it again: it is not sent to another host unasked")])
    same = {"name": body.name, "url": body.url, "format": body.format, "enabled": body.enabled}
    return {**same, "filter": chosen, "token": token}


def _require_reachable(policy: AddressPolicy, url: str) -> None:
    """Refuse early what the forwarder would refuse: it asks again about the very address that it connects to."""
    try:
        target = parse_url(url)
        refusal = None if target.secure or policy.private_networks else "use https"
    except UserError as error:
        raise invalid([FieldProblem(field="url", message=str(error))]) from None
    with contextlib.suppress(ValueError):  # a name: what it resolves to is looked at when it is used
        literal = str(ipaddress.ip_address(target.host))
        if wrong := policy.refusal(literal, target.secure):
            refusal = refusal or f"{literal} {wrong}"
    if refusal:
        raise invalid([FieldProblem(field="url", message=refusal)])


async def _ask(access: Access, services: Services, endpoint_id: str, kind: RequestKind, **what: Any) -> Response:
    async with services.webhooks.changing:
        endpoint = find(services, access.principal, endpoint_id)
        request = Request(str(uuid4()), kind, now_us(), access.principal.principal_id, **what)
        await access.shown(item_count=1, details={"request": vars(request)})
        asked = endpoint.asked(request)
        await services.webhooks.put(asked)
    return Response(_model(services, asked).model_dump_json(), HTTPStatus.ACCEPTED, media_type="application/json")


async def _put(access: Access, services: Services, endpoint: Endpoint, change: str, **details: Any) -> None:
    """Record the endpoint as it is to be, without secrets, before it applies; then publish it."""
    wanted = {name: value for name, value in endpoint.to_record().items() if name not in ("secrets", "token")}
    details |= {"change": change, "webhook": wanted}
    await access.shown(resource=endpoint.endpoint_id, item_count=1, details=details)
    await services.webhooks.put(endpoint)


def _json(services: Services, endpoint: Endpoint) -> dict[str, Any]:
    board = services.webhooks
    letters = len(board.dead_letters(endpoint.endpoint_id))
    return webhook_json(endpoint, board.states.get(endpoint.endpoint_id), letters, now_us())


def _model(services: Services, endpoint: Endpoint) -> WebhookModel:
    return WebhookModel.model_validate(_json(services, endpoint))


def _shown(services: Services, endpoint: Endpoint) -> Response:
    return answer(_model(services, endpoint))
