"""A provider's keys over real HTTP: kept, rotated, fetched again, and believed no longer when they are too old."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from joserfc.jwk import RSAKey

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
        keys = [RSAKey.generate_key(2048, {"kid": key_id}).as_dict(private=False) for key_id in key_ids]
        self.document = json.dumps({"keys": keys}).encode()

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
