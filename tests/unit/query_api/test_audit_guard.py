"""A route that forgets the audit shows nothing; refusals are noted whatever the route."""

from collections.abc import Iterator
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

from procurator.access import Permission
from procurator.config import Settings
from procurator.query_api.app import create_app
from procurator.query_api.auth import Access, AdminKey, requires
from procurator.query_api.problems import not_found

Reader = Annotated[Access, Depends(requires(Permission.SESSIONS_READ, "test.read"))]
_KEY = {"Authorization": "Bearer k"}


def _careless(app: FastAPI) -> None:
    """Add routes as somebody in a hurry would write them."""

    @app.get("/v1/careless")
    async def careless(access: Reader) -> str:
        return f"a secret for {access.principal.principal_id}"

    @app.get("/v1/open")
    async def without_access() -> str:
        return "a secret for everybody"

    @app.get("/v1/shown")
    async def shown(access: Reader) -> str:
        access.recorded = True  # what `shown` leaves behind once Kafka has the event
        return "shown"

    @app.get("/page")
    async def page(access: Reader) -> str:
        return f"a page for {access.principal.principal_id}"

    @app.get("/v1/absent")
    async def absent(access: Reader) -> str:
        raise not_found(f"nothing for {access.principal.principal_id}")


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    app = create_app(
        Settings(kafka_bootstrap_servers="127.0.0.1:9", schema_registry_url="http://127.0.0.1:9"), AdminKey("k")
    )
    _careless(app)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize("path", ["/v1/careless", "/v1/open", "/page"])
def test_an_answer_that_was_not_recorded_is_not_sent(client: TestClient, path: str) -> None:
    answered = client.get(path, headers=_KEY)
    assert answered.status_code == 500
    assert "secret" not in answered.text
    assert "a page" not in answered.text


def test_what_was_recorded_is_sent(client: TestClient) -> None:
    assert client.get("/v1/shown", headers=_KEY).json() == "shown"


def test_errors_need_no_record(client: TestClient) -> None:
    assert client.get("/v1/careless").status_code == 401
    assert client.get("/v1/absent", headers=_KEY).status_code == 404
    assert client.get("/v1/nowhere", headers=_KEY).status_code == 404
    assert client.get("/healthz").status_code == 200
