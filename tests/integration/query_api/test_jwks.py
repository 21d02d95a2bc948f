"""A provider's keys over real HTTP: kept, rotated, fetched again, and believed no longer when they are too old."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from procurator.config import Settings
from procurator.errors import Unavailable
from procurator.query_api.jwks import AGAIN_S, FRESH_S, KEPT_S, Jwks


class Provider(ThreadingHTTPServer):
    """Serves a JWKS; what it answers can be changed, and how often it was asked is counted."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked = 0
        self.status = 200
        self.document = b""
        self.publish("one")

    def publish(self, *key_ids: str) -> None:
        self.keys = {key_id: RSAKey.generate_key(2048, {"kid": key_id}) for key_id in key_ids}
        self.document = json.dumps({"keys": [key.as_dict(private=False) for key in self.keys.values()]}).encode()

    def token(self, key_id: str = "one", key: RSAKey | None = None, **claims: Any) -> str:
        """Return a token of this provider for our audience, which holds for a minute, but for what is given."""
        usual = {"iss": self.url, "aud": "procurator", "sub": "ada", "exp": int(time.time()) + 60}
        return jwt.encode({"alg": "RS256", "kid": key_id}, {**usual, **claims}, key or self.keys["one"])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/keys"


class _Handler(BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        self.server.asked += 1
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.document)))
        self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(self.server.document)

    def log_message(self, *_: object) -> None:
        pass


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


async def test_keys_are_kept_and_rotation_is_noticed(provider: Provider) -> None:
    clock = Clock()
    jwks = Jwks(provider.url, clock)
    assert await jwks.find("one") is not None
    assert await jwks.find("one") is not None
    assert provider.asked == 1, "a key that is known needs no request"
    provider.publish("two")
    clock.now_s += AGAIN_S
    assert await jwks.find("two") is not None, "a new key is fetched when it is first used"
    assert await jwks.find("one") is None, "a key that was withdrawn opens nothing"
    await jwks.close()


async def test_invented_key_ids_make_no_traffic(provider: Provider) -> None:
    clock = Clock()
    jwks = Jwks(provider.url, clock)
    for number in range(50):
        assert await jwks.find(f"invented-{number}") is None
    assert provider.asked == 1
    clock.now_s += AGAIN_S
    assert await jwks.find("invented") is None
    assert provider.asked == 2
    await jwks.close()


async def test_a_withdrawn_key_is_noticed_without_a_new_one(provider: Provider) -> None:
    clock = Clock()
    jwks = Jwks(provider.url, clock)
    assert await jwks.find("one") is not None
    provider.publish("two")
    clock.now_s += FRESH_S + 1
    assert await jwks.find("one") is None
    await jwks.close()


async def test_while_the_provider_is_away_its_keys_hold_for_an_hour(provider: Provider) -> None:
    clock = Clock()
    jwks = Jwks(provider.url, clock)
    assert await jwks.find("one") is not None
    provider.status = 500
    clock.now_s += KEPT_S
    assert await jwks.find("one") is not None
    clock.now_s += 1
    with pytest.raises(Unavailable, match="keys at .* cannot be read"):
        await jwks.find("one")
    await jwks.close()


@pytest.mark.parametrize(
    ("status", "document"),
    [(302, b""), (404, b""), (200, b"<html>"), (200, b"[" * 2_000_000), (200, b'{"keys": {}}'), (204, b"")],
)
async def test_an_answer_that_is_no_key_set_is_none(provider: Provider, status: int, document: bytes) -> None:
    provider.status, provider.document = status, document
    jwks = Jwks(provider.url, Clock())
    with pytest.raises(Unavailable):
        await jwks.find("one")
    assert provider.asked == 1
    await jwks.close()


@pytest.fixture
def api(provider: Provider, reader_settings: Settings, tmp_path: Path) -> Iterator[httpx.Client]:
    """`procurator api` as a process on this module's ledger, which believes the provider."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PROCURATOR_")}
    own |= {
        "PROCURATOR_CLICKHOUSE_URL": reader_settings.clickhouse_url,
        "PROCURATOR_CLICKHOUSE_USER": reader_settings.clickhouse_user,
        "PROCURATOR_CLICKHOUSE_PASSWORD": reader_settings.clickhouse_password.get_secret_value(),
        "PROCURATOR_CLICKHOUSE_DATABASE": reader_settings.clickhouse_database,
        "PROCURATOR_SCHEMA_REGISTRY_URL": reader_settings.schema_registry_url,
        "PROCURATOR_KAFKA_BOOTSTRAP_SERVERS": reader_settings.kafka_bootstrap_servers,
        "PROCURATOR_DATA_DIR": str(tmp_path),
        "PROCURATOR_ADMIN_KEY": "k",
        "PROCURATOR_API_PORT": "0",
        "PROCURATOR_READY_FILE": str(tmp_path / "ready"),
        "PROCURATOR_OIDC_ISSUER": provider.url,
        "PROCURATOR_OIDC_AUDIENCE": "procurator",
        "PROCURATOR_OIDC_JWKS_URL": provider.url,
        "PROCURATOR_OIDC_ROLES": "auditor=sessions:read",
    }
    log = tmp_path / "log"
    with (
        log.open("wb") as stderr,
        subprocess.Popen([sys.executable, "-m", "procurator", "api"], env=own, stderr=stderr) as process,
    ):
        deadline_s = time.monotonic() + 60
        while not (tmp_path / "ready").exists():
            assert process.poll() is None, log.read_text("utf-8")
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        with httpx.Client(base_url=log.read_text("utf-8").split()[1], timeout=30, trust_env=False) as client:
            yield client
        process.terminate()


def test_a_token_shows_the_sessions_of_its_teams_and_no_others(
    api: httpx.Client, provider: Provider, ledger: Any, new_runtime: Any
) -> None:
    owners = (("acme", "payments"), ("acme", "search"), ("beta", "payments"))
    sessions = {}
    for org_id, team in owners:
        run = new_runtime(org_id=org_id, owner_team_id=team)
        ledger.add(run.start(), run.turn(0, "hi"))
        ledger.publish(run.session_id)
        sessions[org_id, team] = run.session_id

    def get(path: str, **claims: Any) -> httpx.Response:
        return api.get(path, headers={"Authorization": f"Bearer {provider.token(**claims)}"})

    def seen(**claims: Any) -> set[tuple[str, str]]:
        listed = {item["session_id"] for item in get("/v1/sessions", **claims).raise_for_status().json()["items"]}
        for session_id in sessions.values():  # what is listed can be opened, and nothing else
            for part in ("", "/turns", "/stream"):
                if part != "/stream" or session_id not in listed:
                    status = get(f"/v1/sessions/{session_id}{part}", **claims).status_code
                    assert status == (200 if session_id in listed else 404), (session_id, part)
        return {owner for owner, session_id in sessions.items() if session_id in listed}

    mine = {"org_id": "acme", "teams": ["payments"], "permissions": ["sessions:read"]}
    assert seen(**mine) == {("acme", "payments")}
    assert seen(**{**mine, "permissions": ["auditor"]}) == {("acme", "payments")}
    assert seen(**{**mine, "teams": []}) == set()
    assert seen(**{**mine, "permissions": ["sessions:read:all"]}) == {("acme", "payments"), ("acme", "search")}
    assert get("/v1/sessions", **{**mine, "permissions": []}).status_code == 403
    for refused in ({"aud": "another"}, {"iss": "another"}, {"exp": 1}, {"key_id": "unknown"}, {"org_id": ""}):
        assert get("/v1/sessions", **{**mine, **refused}).status_code == 401, refused
    assert get("/v1/sessions", **mine, key=RSAKey.generate_key(2048)).status_code == 401
    assert provider.asked == 1, "its keys are kept, and an unknown one does not have them fetched at once"
