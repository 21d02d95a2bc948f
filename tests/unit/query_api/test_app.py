"""The application without neighbours: who is let in, what a mistake is answered with, what is described."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from procurator.access import Principal
from procurator.config import Settings
from procurator.query_api.app import create_app
from procurator.query_api.auth import AdminKey
from procurator.query_api.problems import MEDIA_TYPE
from procurator.query_api.queries.base import LIMIT_MAX

_KEY = "a key of the operator"
_ADMIN = {"Authorization": f"Bearer {_KEY}"}
_ID = "0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d"
#: Nobody listens there, whereas a stack of the developer's own may run on the default ports.
_NOWHERE = Settings(
    kafka_bootstrap_servers="127.0.0.1:1", schema_registry_url="http://127.0.0.1:1", clickhouse_url="http://127.0.0.1:1"
)


class _KeyOrNobody:
    """The admin key, and one key that lets in somebody without permissions."""

    async def principal(self, token: str) -> Principal | None:
        return Principal("nobody", "acme", frozenset()) if token == "nobody" else await AdminKey(_KEY).principal(token)


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(create_app(_NOWHERE, _KeyOrNobody()), raise_server_exceptions=False) as client:
        yield client


def _problem(response: Any) -> dict[str, Any]:
    assert response.headers["content-type"] == MEDIA_TYPE
    document: dict[str, Any] = response.json()
    assert document["status"] == response.status_code
    assert document["request_id"] == response.headers["x-request-id"]
    return document


def _guarded() -> list[tuple[str, str]]:
    """Every operation under /v1: one that is added without a rule fails the tests that use this."""
    paths = create_app(_NOWHERE, AdminKey(_KEY)).openapi()["paths"]
    return [
        (method.upper(), path.replace("{session_id}", _ID))
        for path, operations in paths.items()
        for method in operations
        if path.startswith("/v1/")
    ]


@pytest.mark.parametrize(("method", "path"), _guarded())
@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {_KEY}"}])
def test_nobody_is_let_in_without_a_key(client: TestClient, method: str, path: str, header: dict[str, str]) -> None:
    response = client.request(method, path, headers=header)
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert _KEY not in _problem(response)["detail"]


@pytest.mark.parametrize(("method", "path"), _guarded())
def test_a_key_without_the_permission_is_refused(client: TestClient, method: str, path: str) -> None:
    response = client.request(method, path, headers={"Authorization": "Bearer nobody"})
    assert response.status_code == 403
    assert _problem(response)["detail"].startswith("this needs the permission ")


def test_an_empty_admin_key_opens_nothing() -> None:
    with pytest.raises(ValueError, match="let everybody in"):
        AdminKey("")


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/sessions?limit=0", "limit"),
        (f"/v1/sessions?limit={LIMIT_MAX + 1}", "limit"),
        ("/v1/sessions?limit=ten", "limit"),
        ("/v1/sessions?cursor=nonsense", "cursor"),
        ("/v1/sessions?cursor=" + "A" * 2000, "cursor"),
        ("/v1/sessions?cursor=%00", "cursor"),
        ("/v1/sessions?agnet=billing", "agnet"),
        (f"/v1/sessions/{_ID}?verbose=1", "verbose"),
        (f"/v1/sessions/{_ID}/turns?limit=-1", "limit"),
        ("/v1/sessions/4711", "session_id"),
        ("/v1/sessions/%00%ff/events", "session_id"),
    ],
)
def test_bad_input_is_answered_with_the_field_at_fault(client: TestClient, path: str, field: str) -> None:
    response = client.get(path, headers=_ADMIN)
    assert response.status_code == 422
    document = _problem(response)
    assert [error["field"] for error in document["errors"]] == [field]
    assert document["detail"].startswith(f"{field}: ")


def test_an_unknown_path_and_a_wrong_method(client: TestClient) -> None:
    assert _problem(client.get("/v1/nothing", headers=_ADMIN))["status"] == 404
    response = client.post("/v1/sessions", headers=_ADMIN)
    assert _problem(response)["status"] == 405
    assert response.headers["allow"] == "GET"


def test_a_request_id_is_taken_over_unless_it_is_odd(client: TestClient) -> None:
    assert client.get("/healthz", headers={"X-Request-Id": "abc-1"}).headers["x-request-id"] == "abc-1"
    assert client.get("/healthz", headers={"X-Request-Id": "a b"}).headers["x-request-id"] != "a b"


def test_the_process_is_alive_whatever_its_neighbours_do(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}


def test_the_pages_ask_who_one_is_and_come_back(client: TestClient) -> None:
    response = client.get("/sessions?q=agent:billing", follow_redirects=False)
    assert (response.status_code, response.headers["location"]) == (
        303,
        "/signin?next=%2Fsessions%3Fq%3Dagent%3Abilling",
    )
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 404


def test_the_description_is_whole(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            responses = operation["responses"]
            assert operation["summary"], path
            if path.startswith("/v1/"):
                assert {"401", "403", "422", "503"} <= set(responses)
                assert set(responses["422"]["content"]) == {MEDIA_TYPE}
    references = set(_references(document))
    assert references
    assert references <= {f"#/components/schemas/{name}" for name in schemas}
    assert schemas["Turn"]["properties"]["model"]["description"]


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for value in part.values():
            yield from _references(value)
    elif isinstance(part, list):
        for value in part:
            yield from _references(value)
