"""IO: the identity provider's public keys (JWKS), kept, and fetched again when they are old or a new one is used.

A key id that is not known makes us ask the provider again, at most once in `AGAIN_S`: whoever invents key ids makes
no traffic. While the provider is away, the keys that are known go on being believed for `KEPT_S`.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx
import orjson
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey, import_key

from procurator.errors import Unavailable, UserError
from procurator.query_api.local import is_local

_log = logging.getLogger(__name__)

FRESH_S = 300.0
AGAIN_S = 10.0
#: After that a key that the provider may have withdrawn is believed no longer.
KEPT_S = 3600.0
_BYTES_MAX = 1024 * 1024
_KEYS_MAX = 100
_TIMEOUT_S = 5.0
_RSA_BITS_MIN = 2048


class Jwks:
    """The keys at one address. ``monotonic`` is a clock in seconds. `close` it."""

    def __init__(self, url: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._url = checked_url(url)
        self._monotonic = monotonic
        self._client = httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False)
        self._keys: dict[str, Key] = {}
        self._fetched_s = self._asked_s = float("-inf")
        self._lock = asyncio.Lock()

    async def find(self, key_id: str) -> Key | None:
        """Return the key of that id, or None. Raises Unavailable when there are no keys that can be trusted still."""
        if key_id not in self._keys or self._monotonic() - self._fetched_s > FRESH_S:
            async with self._lock:
                await self._refresh(key_id)
        if self._monotonic() - self._fetched_s > KEPT_S:
            raise Unavailable(f"the identity provider's keys at {self._url} cannot be read")
        return self._keys.get(key_id)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _refresh(self, key_id: str) -> None:
        now_s = self._monotonic()
        known = key_id in self._keys and now_s - self._fetched_s <= FRESH_S
        if known or now_s - self._asked_s < AGAIN_S:  # another request has just asked
            return
        self._asked_s = now_s
        try:
            self._keys = parse_keys(await self._fetch())
            self._fetched_s = now_s
        except (httpx.HTTPError, ValueError) as error:
            _log.warning("keys of the identity provider at %s: %s", self._url, error or type(error).__name__)

    async def _fetch(self) -> bytes:
        """Return the document; ValueError when it is none or too large. Redirects are not followed."""
        async with self._client.stream("GET", self._url, headers={"Accept": "application/json"}) as response:
            if response.status_code != httpx.codes.OK:
                raise ValueError(f"answered {response.status_code}")
            body = bytearray()
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > _BYTES_MAX:
                    raise ValueError(f"the document is larger than {_BYTES_MAX} bytes")
        return bytes(body)


def parse_keys(document: bytes) -> dict[str, Key]:
    """Return the keys that can verify signatures, by id; others are left out. Raises ValueError for no JWKS."""
    try:
        entries = orjson.loads(document)["keys"]
    except (TypeError, KeyError, orjson.JSONDecodeError) as error:
        raise ValueError("this is no JWKS document") from error
    if not isinstance(entries, list):
        raise ValueError("this is no JWKS document")
    keys = {}
    for entry in entries[:_KEYS_MAX]:
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig" or not isinstance(entry.get("kid"), str):
            continue
        try:
            key = import_key(entry)
        except (JoseError, ValueError, TypeError):
            continue
        if _verifies(key):
            keys[entry["kid"]] = key
    return keys


def _verifies(key: Key) -> bool:
    """Tell whether a key is a public one that is strong enough; a shared secret never is."""
    if isinstance(key, RSAKey):
        return key.raw_value.key_size >= _RSA_BITS_MIN
    return isinstance(key, ECKey | OKPKey)


def checked_url(url: str) -> str:
    """Return ``url``. Raises UserError unless it is https, or http to this machine: keys decide who is let in."""
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return url
    if parts.scheme == "http" and is_local(parts.hostname or ""):
        return url
    raise UserError(f"PROCURATOR_OIDC_JWKS_URL: {url!r} is not an https address")
