"""What an enemy would send: SQL in every parameter, bodies that are too large, too deep, or compressed; odd headers."""

import gzip
import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from procurator.config import Settings
from procurator.query_api.app import create_app
from procurator.query_api.auth import AdminKey
from procurator.query_api.body_limit import BODY_BYTES_MAX

_SQL = [
    "' OR 1=1 --",
    "'; DROP TABLE sessions; --",
    "x\\' OR '1'='1",
    "{scope_org_id:String}",
    "') UNION ALL SELECT * FROM system.users --",
    "1; SELECT sleep(3)",
    "%00%27",
    "\x00'\n\\",
    "`sessions` WHERE 1",
    "\ud7ff￿𝒳",
    "(" * 300,
    "(a|a)*$" * 20,
    "A" * 5000,
]
_FOR_ALL = 3


def _parameters() -> list[tuple[str, str]]:
    """Every query parameter of every route that reads; a stream has no end and asks the same filters."""
    paths = create_app(Settings(), AdminKey("k")).openapi()["paths"]
    return [
        (path, parameter["name"])
        for path, operations in paths.items()
        for parameter in operations.get("get", {}).get("parameters", ())
        if path.startswith("/v1/") and not path.endswith("/stream") and parameter["in"] == "query"
    ]


def _paths() -> list[str]:
    paths = create_app(Settings(), AdminKey("k")).openapi()["paths"]
    return [path for path in paths if path.startswith("/v1/") and "{" in path and "get" in paths[path]]


@pytest.fixture(scope="module")
def known(ledger: Any, new_runtime: Any) -> str:
    run = new_runtime()
    ledger.add(run.start(), run.turn(0, "hi"), run.end())
    ledger.publish(run.session_id)
    return str(run.session_id)


@pytest.fixture(scope="module")
def unlimited(reader_settings: Settings) -> Iterator[TestClient]:
    settings = reader_settings.model_copy(update={"rate_limit_per_s": 0.0})
    with TestClient(create_app(settings, AdminKey("k")), headers={"Authorization": "Bearer k"}) as client:
        yield client


def test_sql_in_a_query_parameter_stays_a_value(unlimited: TestClient, ledger: Any, known: str) -> None:
    odd = []
    for number, (path, name) in enumerate(_parameters()):
        ids = dict.fromkeys(("event_id", "budget_id", "export_id"), uuid4())
        url = path.format(session_id=known, key_id="a" * 16, name="x", **ids)
        # All of them for every parameter would take minutes: the first few, and another one each.
        for text in (*_SQL[:_FOR_ALL], _SQL[_FOR_ALL:][number % (len(_SQL) - _FOR_ALL)]):
            answered = unlimited.get(url, params={name: text})
            shown = answered.json().get("items") if answered.status_code == 200 else None
            if answered.status_code not in (200, 404, 422) or "DB::" in answered.text or "system.users" in str(shown):
                odd.append((path, name, text[:40], answered.status_code, answered.text[:200]))
    assert not odd
    assert ledger.clickhouse.rows("SELECT count() FROM sessions") != [[0]]


def test_sql_in_a_path_stays_a_value(unlimited: TestClient) -> None:
    for path in _paths():
        for text in ("' OR 1=1 --", "%27%3B%20DROP%20TABLE%20sessions", "..%2f..%2fetc%2fpasswd", "%00", "{x:UUID}"):
            head, _, tail = path.partition("{")
            answered = unlimited.get(head + text + tail.partition("}")[2])
            assert answered.status_code in (404, 422), (path, text, answered.text[:200])


def test_sql_in_a_body_stays_a_value(unlimited: TestClient) -> None:
    for text in _SQL:
        for name in ("agent_id", "owner_team_id", "org_id"):
            answered = unlimited.post("/v1/sessions/terminate", json={name: text})
            assert answered.status_code in (200, 422), (name, text, answered.text[:200])
            assert answered.status_code == 422 or answered.json()["matched"] == 0
        labels = unlimited.post("/v1/sessions/terminate", json={"labels": {text: text}})
        assert labels.status_code in (200, 422)


@pytest.mark.parametrize("path", ["/v1/sessions/terminate", "/v1/budgets", "/v1/keys"])
def test_a_body_that_is_too_much_is_refused(unlimited: TestClient, path: str) -> None:
    large = b'{"name": "' + b"x" * BODY_BYTES_MAX + b'"}'
    json_type = {"Content-Type": "application/json"}

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(large), 65536):
            yield large[start : start + 65536]

    assert unlimited.post(path, content=large, headers=json_type).status_code == 413
    assert unlimited.post(path, content=pieces(), headers=json_type).status_code == 413
    assert unlimited.post(path, content=b"[" * 500_000, headers=json_type).status_code in (400, 422)
    nested = b'{"labels":' * 20_000 + b"1" + b"}" * 20_000
    assert unlimited.post(path, content=nested, headers=json_type).status_code in (400, 422)
    deep_string = json.dumps({"name": "[" * 100_000}).encode()
    assert unlimited.post(path, content=deep_string, headers=json_type).status_code == 422


def test_a_compressed_body_is_not_unfolded(unlimited: TestClient) -> None:
    bomb = gzip.compress(b'{"name": "' + b"0" * 50_000_000 + b'"}')
    assert len(bomb) < BODY_BYTES_MAX
    for encoding in ("gzip", "br", "deflate, gzip", "GZIP"):
        headers = {"Content-Encoding": encoding, "Content-Type": "application/json"}
        assert unlimited.post("/v1/keys", content=bomb, headers=headers).status_code == 415


@pytest.mark.parametrize("length", ["-1", "1e3", "99999999999999999999999", "0x10"])
def test_a_length_that_is_none_is_refused(unlimited: TestClient, length: str) -> None:
    answered = unlimited.post("/v1/keys", content=b"{}", headers={"Content-Length": length})
    assert answered.status_code == 413


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("X-Purpose", b"a\x1b[31mb", 422),
        ("X-Purpose", b"x" * 201, 422),
        ("X-Purpose", "Prüfung – 監査".encode(), 200),
        ("X-Purpose", b"\xff\xfe", 200),
        ("X-Request-Id", b"a b", 200),
        ("X-Request-Id", b"<script>", 200),
        ("X-Forwarded-For", b"10.0.0.1, evil", 200),
    ],
)
def test_odd_headers(unlimited: TestClient, name: str, value: bytes, status: int) -> None:
    answered = unlimited.get("/v1/sessions?limit=1", headers=[(name.encode(), value)])
    assert answered.status_code == status
    assert value not in answered.headers["x-request-id"].encode("latin-1")
    if status == 422:
        assert [error["field"] for error in answered.json()["errors"]] == [name]


@pytest.mark.parametrize(
    "authorization",
    ["Bearer", "Bearer ", "Bearer \x7f", "bearer k k", "Basic azo=", "Bearer " + "a." * 40_000, "Bearer ..", "k"],
)
def test_odd_credentials(unlimited: TestClient, authorization: str) -> None:
    assert unlimited.get("/v1/sessions", headers={"Authorization": authorization}).status_code == 401


def test_other_sites_may_not_call(unlimited: TestClient) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
    assert unlimited.options("/v1/sessions", headers=headers).status_code == 405
    answered = unlimited.get("/v1/sessions?limit=1", headers=headers)
    assert not [name for name in answered.headers if name.startswith("access-control")]
