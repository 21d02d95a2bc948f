"""Who sits at the browser: the credential that signed in, sealed into a cookie that only this installation can open.

The cookie holds the key or token itself, encrypted, so each request asks the authenticator afresh: a key that is
revoked or expired ends its browser sessions at once, and API processes that share the admin key share the sessions.
"""

import base64
import hmac
import time
from collections.abc import Callable
from hashlib import sha256
from http import HTTPStatus
from urllib.parse import urlsplit

from cryptography.fernet import Fernet, InvalidToken
from fastapi import Request, Response

from procurator.access import Principal
from procurator.query_api.auth import Authenticator
from procurator.query_api.problems import Problem

CSRF_HEADER = "X-CSRF-Token"
CSRF_FIELD = "csrf"
#: How long a browser stays signed in.
SESSION_S = 12 * 3600
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class BrowserSessions:
    """Opens, reads and ends browser sessions. ``secret`` is the installation's: whoever has it can make cookies."""

    def __init__(self, secret: str, session_s: int = SESSION_S, clock: Callable[[], float] = time.time) -> None:
        self._key = hmac.digest(secret.encode(), b"procurator browser session 1", sha256)
        self._seal = Fernet(base64.urlsafe_b64encode(self._key))
        self._session_s = session_s
        self._clock = clock
        #: Digests of cookies that were signed out, until they would have expired.
        self._ended: dict[bytes, float] = {}
        # Cookies know no ports: two installations on one host must not take each other's.
        self.cookie = f"procurator_{sha256(self._key).hexdigest()[:8]}"

    def open(self, request: Request, response: Response, token: str) -> None:
        """Let ``response`` set the cookie of a session that acts with ``token``."""
        sealed = self._seal.encrypt_at_time(token.encode(), int(self._clock())).decode()
        response.set_cookie(
            self.cookie,
            sealed,
            max_age=self._session_s,
            httponly=True,
            samesite="lax",
            secure=not is_loopback(request),
        )

    def end(self, request: Request, response: Response) -> None:
        """Sign out: the cookie goes, and a copy of it opens nothing any more."""
        now = self._clock()
        self._ended = {digest: until for digest, until in self._ended.items() if until > now}
        cookie = request.cookies.get(self.cookie)
        if cookie is not None:
            self._ended[sha256(cookie.encode()).digest()] = now + self._session_s
        response.delete_cookie(self.cookie, httponly=True, samesite="lax", secure=not is_loopback(request))

    async def principal(self, request: Request) -> Principal | None:
        """Return who is signed in, or None without a session that holds.

        Raises the problem 403 when the request would change something and does not carry the session's CSRF token.
        """
        token = self._token(request)
        authenticator: Authenticator = request.app.state.authenticator
        found = None if token is None else await authenticator.principal(token)
        if found is not None and request.method not in _SAFE:
            await self._require_csrf(request)
        return found

    def csrf(self, request: Request) -> str:
        """Return the token that forms and scripts of this session send along; empty without a session."""
        cookie = request.cookies.get(self.cookie)
        return "" if cookie is None else hmac.new(self._key, b"csrf" + cookie.encode(), sha256).hexdigest()

    def _token(self, request: Request) -> str | None:
        cookie = request.cookies.get(self.cookie)
        if cookie is None or sha256(cookie.encode()).digest() in self._ended:
            return None
        try:
            opened = self._seal.decrypt_at_time(cookie.encode(), self._session_s, int(self._clock()))
        except InvalidToken:
            return None
        return opened.decode()

    async def _require_csrf(self, request: Request) -> None:
        given = request.headers.get(CSRF_HEADER)
        if given is None and request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            value = (await request.form()).get(CSRF_FIELD)
            given = value if isinstance(value, str) else None
        if given is None or not hmac.compare_digest(given.encode(), self.csrf(request).encode()):
            raise Problem(
                HTTPStatus.FORBIDDEN,
                "csrf",
                "This page is out of date",
                "the request did not come from a page of this session: load the page again and repeat it",
            )


def is_loopback(request: Request) -> bool:
    """Tell whether the browser speaks to this machine, where cookies need no TLS."""
    return (request.url.hostname or "") in _LOOPBACK


def local_path(target: str | None) -> str:
    """Return ``target`` when it is a path of this site, else the start page: nobody is sent elsewhere."""
    if not target or not target.startswith("/") or target.startswith(("//", "/\\")):
        return "/"
    parts = urlsplit(target)
    return "/" if parts.scheme or parts.netloc or any(ord(letter) < 32 for letter in target) else target
