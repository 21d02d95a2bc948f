"""Is the process alive, can it answer. Open to everybody: they say nothing about the ledger."""

from http import HTTPStatus

from fastapi import APIRouter, Response

from procurator.query_api.models.common import Model
from procurator.query_api.problems import responses
from procurator.query_api.routes.common import InService, answer

router = APIRouter(tags=["health"])


class Health(Model):
    """All is well."""

    status: str = "ok"


@router.get("/healthz", response_model=Health, summary="Is the process alive?")
async def healthz() -> Response:
    """Answer whatever the neighbours do."""
    return answer(Health())


@router.get(
    "/readyz",
    response_model=Health,
    summary="Can queries be answered?",
    responses=responses(HTTPStatus.SERVICE_UNAVAILABLE),
)
async def readyz(services: InService) -> Response:
    """Answer 503 while ClickHouse is away or has no tables yet."""
    await services.store.check()
    return answer(Health())
