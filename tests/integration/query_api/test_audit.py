"""Who looked is in the ledger too: on the whole stack, from the answer to the audit's list."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi.testclient import TestClient

from procurator.config import Settings
from procurator.deploy.embedded.layout import free_ports
from procurator.deploy.embedded.stack import Stack
from procurator.query_api.app import create_app
from procurator.query_api.auth import AdminKey
from procurator.query_api.rate_limit import RateLimiter, RatePolicy
from procurator.query_api.refusals import POLICY, SUMMARY

Rows = list[dict[str, Any]]
_UNKNOWN = "prk_aaaaaaaaaaaaaaaa_" + "A" * 43


def await_rows(read: Callable[[], Rows], enough: Callable[[Rows], object], timeout_s: float = 60) -> Rows:
    """Return what ``read`` returns once it is enough: the sink ledgers a moment after the answer."""
    deadline = time.monotonic() + timeout_s
    while not enough(rows := read()):
        assert time.monotonic() < deadline, rows
    return rows


@pytest.fixture
def org() -> str:
    return f"audit-{uuid4().hex[:12]}"


@pytest.fixture(scope="module")
def operator(stack: Stack) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {stack.admin_key}"}
    with httpx.Client(base_url=stack.api_url, headers=headers, timeout=60) as client:
        yield client


@pytest.fixture
def second(stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[TestClient]:
    """Another process of the API, as far as Kafka and ClickHouse can tell."""
    for name, value in stack.env("api").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PROCURATOR_EXPORTS_DIR", str(tmp_path / "exports"))
    with TestClient(create_app(Settings(), AdminKey(stack.admin_key))) as client:
        yield client


def make_key(operator: httpx.Client, org: str, *permissions: str, **more: Any) -> tuple[dict[str, str], str]:
    """Return the headers of a new key, and its id."""
    body = {"name": "test", "org_id": org, "permissions": permissions, **more}
    made = operator.post("/v1/keys", json=body).raise_for_status().json()
    return {"Authorization": f"Bearer {made['key']}"}, made["key_id"]


def audit(operator: httpx.Client, headers: dict[str, str] | None = None, /, **filters: Any) -> Rows:
    rows: Rows = operator.get("/v1/audit", params=filters, headers=headers).raise_for_status().json()["items"]
    return rows


def test_what_is_shown_and_what_is_refused_is_in_the_audit(operator: httpx.Client, org: str) -> None:
    reader, reader_id = make_key(operator, org, "sessions:read", owner_team_ids=["payments"])
    admin, admin_id = make_key(operator, org, "admin")
    session_id = str(uuid4())
    why = [(b"X-Purpose", "Beschwerde №4711".encode()), (b"X-Request-Id", f"r-{org}".encode())]
    why.append((b"X-Forwarded-For", b"10.9.8.7"))  # believed of trusted proxies alone
    bearer = [(b"Authorization", reader["Authorization"].encode())]
    shown = operator.get("/v1/sessions?limit=7&q=agent:nobody", headers=bearer + why)
    assert shown.raise_for_status().json() == {"items": [], "next_cursor": None}
    assert shown.headers["x-request-id"] == f"r-{org}"
    assert operator.get(f"/v1/sessions/{session_id}", headers=reader).status_code == 404
    assert operator.post(f"/v1/sessions/{session_id}/terminate", headers=reader).status_code == 403

    rows = await_rows(lambda: audit(operator, admin, principal=f"key:{reader_id}"), lambda rows: len(rows) == 3)
    told = [(row["action"], row["outcome"], row["item_count"]) for row in reversed(rows)]
    assert told == [
        ("sessions.search", "ALLOWED", 0),
        ("sessions.read", "REFUSED", None),
        ("sessions.terminate", "REFUSED", None),
    ]
    search = rows[-1]
    assert (search["org_id"], search["purpose"], search["request_id"]) == (org, "Beschwerde №4711", f"r-{org}")
    assert '"q":"agent:nobody"' in search["filter"]
    assert search["remote_address"] == "127.0.0.1"
    assert all(row["details"] and session_id in row["details"] for row in rows[:2])

    own = await_rows(lambda: audit(operator, admin, principal=f"key:{admin_id}"), lambda rows: rows)
    assert {row["action"] for row in own} == {"audit.read"}, "who reads the audit is in it"
    assert {row["org_id"] for row in audit(operator, admin)} == {org}, "an organisation's audit is its own"
    # Of another principal, so in another partition: its block may come later.
    made = await_rows(
        lambda: [row for row in audit(operator, action="keys.write") if row["resource"] == reader_id], bool
    )
    assert [(row["org_id"], row["principal"], row["outcome"]) for row in made] == [("*", "key:admin", "ALLOWED")]
    assert all(_secret(reader) not in (row["details"] or "") for row in made)


def _secret(headers: dict[str, str]) -> str:
    return headers["Authorization"].rpartition("_")[2]


def test_the_list_has_pages_and_filters(operator: httpx.Client, org: str) -> None:
    reader, reader_id = make_key(operator, org, "sessions:read:all")
    for _ in range(5):
        operator.get("/v1/sessions?limit=1", headers=reader).raise_for_status()
    everything = await_rows(lambda: audit(operator, principal=f"key:{reader_id}"), lambda rows: len(rows) == 5)
    pages, cursor = [], None
    while True:
        params = {"principal": f"key:{reader_id}", "limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = operator.get("/v1/audit", params=params).raise_for_status().json()
        pages += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert pages == everything
    assert [row["sequence"] for row in everything] == sorted((row["sequence"] for row in everything), reverse=True)
    first, last = everything[-1]["broker_time"], everything[0]["broker_time"]
    who: dict[str, Any] = {"principal": f"key:{reader_id}"}
    assert audit(operator, **who, **{"from": first, "to": last}) == [
        row for row in everything if first <= row["broker_time"] < last
    ]
    assert audit(operator, **who, outcome="REFUSED") == []
    assert audit(operator, **who, action="sessions.search") == everything
    assert operator.get("/v1/audit", params={"from": last, "to": first}).status_code == (422 if first < last else 200)
    assert "for example" in operator.get("/v1/audit?from=yesterday").json()["errors"][0]["message"]
    assert operator.get("/v1/audit?outcome=MAYBE").status_code == 422


def test_a_key_opens_and_a_revocation_closes_every_process(
    operator: httpx.Client, second: TestClient, org: str
) -> None:
    headers, key_id = make_key(operator, org, "sessions:read:all")
    await_status(second, headers, 200)
    revoked = operator.delete(f"/v1/keys/{key_id}").raise_for_status().json()
    assert (revoked["state"], revoked["revoked_by"]) == ("revoked", "key:admin")
    assert operator.get("/v1/sessions", headers=headers).status_code == 401
    await_status(second, headers, 401)
    listed = {key["key_id"]: key for key in operator.get("/v1/keys").raise_for_status().json()["items"]}
    assert listed[key_id] == revoked
    assert all(_secret(headers) not in str(key) for key in listed.values())


def await_status(client: TestClient, headers: dict[str, str], status: int) -> None:
    """Wait until the process has heard."""
    deadline = time.monotonic() + 60
    while client.get("/v1/sessions", headers=headers).status_code != status:
        assert time.monotonic() < deadline


def test_a_flood_of_refusals_is_counted_not_written(operator: httpx.Client, second: TestClient) -> None:
    await_status(second, {"Authorization": f"Bearer {_UNKNOWN}"}, 401)  # once it has read the keys
    flood = 15 * POLICY.burst
    for _ in range(flood):
        assert second.get("/v1/keys", headers={"Authorization": f"Bearer {_UNKNOWN}"}).status_code == 401
    assert second.portal is not None
    flush: Callable[[], None] = second.app.state.services.refusals.flush  # type: ignore[attr-defined]
    second.portal.call(flush)

    def of_this_process() -> Rows:
        rows = audit(operator, principal="anonymous", limit=1000)
        return [row for row in rows if row["action"] == SUMMARY or row["remote_address"] == "testclient"]

    rows = await_rows(of_this_process, lambda rows: sum(row["item_count"] or 1 for row in rows) >= flood)
    assert len(rows) < flood / 4
    assert {row["outcome"] for row in rows} == {"REFUSED"}


def test_nothing_is_shown_that_the_audit_cannot_take(stack: Stack, tmp_path: Path) -> None:
    settings = Settings(
        kafka_bootstrap_servers=f"127.0.0.1:{free_ports(1)[0]}",
        schema_registry_url=stack.registry_url,
        clickhouse_url=stack.clickhouse_url,
        clickhouse_user="reader",
        clickhouse_password=stack.password("reader"),
        exports_dir=tmp_path,
    )
    with TestClient(create_app(settings, AdminKey("k")), headers={"Authorization": "Bearer k"}) as client:
        answered = client.get("/v1/sessions")
        assert answered.status_code == 503
        assert answered.headers["retry-after"] == "2"
        assert set(answered.json()) == {"type", "title", "status", "detail", "errors", "request_id"}
        assert client.get("/healthz").status_code == 200
        assert "procurator_api_audit_failures_total 1.0" in client.get("/metrics").text


def test_the_figures_are_there_and_name_nobody(operator: httpx.Client) -> None:
    session_id = str(uuid4())
    operator.get(f"/v1/sessions/{session_id}")
    page = operator.get("/metrics").raise_for_status()
    assert page.headers["content-type"].startswith("text/plain")
    route = 'procurator_api_requests_total{method="GET",route="/v1/sessions/{session_id}",status="404"}'
    assert any(line.startswith(route) for line in page.text.splitlines())
    for name in ("request_seconds_bucket", "audit_seconds_count", "live_listeners", "rate_limited_total"):
        assert f"procurator_api_{name}" in page.text
    assert session_id not in page.text
    assert "key:" not in page.text


def test_whoever_calls_too_often_waits(operator: httpx.Client, second: TestClient, org: str) -> None:
    headers, _ = make_key(operator, org, "sessions:read:all")
    await_status(second, headers, 200)
    second.app.state.rate_limiter = RateLimiter(RatePolicy(per_s=0.0001, burst=2))  # type: ignore[attr-defined]
    statuses = [second.get("/v1/sessions?limit=1", headers=headers) for _ in range(3)]
    assert [answer.status_code for answer in statuses] == [200, 200, 429]
    assert 9_000 <= int(statuses[-1].headers["retry-after"]) <= 10_000
    assert second.get("/v1/sessions?limit=1").status_code == 401, "others are not held up"


def test_keys_are_made_listed_and_revoked_from_the_command_line(stack: Stack, org: str) -> None:
    def keys(*arguments: str) -> str:
        command = [sys.executable, "-m", "procurator", "keys", *arguments]
        environment = {**os.environ, **stack.env("admin")}
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert ran.returncode == (2 if "nothing-known" in arguments else 0), ran.stderr
        return ran.stdout + (ran.stderr if ran.returncode else "")

    made = json.loads(
        keys("create", "export", "--org", org, "--permission", "sessions:read:all", "--days", "7", "--json")
    )
    headers = {"Authorization": f"Bearer {made['key']}"}
    assert httpx.get(f"{stack.api_url}/v1/sessions", headers=headers, timeout=60).status_code == 200
    [listed] = [key for key in json.loads(keys("list", "--json")) if key["org_id"] == org]
    assert listed == {name: value for name, value in made.items() if name != "key"}
    keys("revoke", made["key_id"])
    assert httpx.get(f"{stack.api_url}/v1/sessions", headers=headers, timeout=60).status_code == 401
    refused = keys("create", "odd", "--org", org, "--permission", "nothing-known")
    assert refused.startswith("procurator: permissions.0: Input should be 'sessions:read'")
    assert refused.count("\n") == 1
