"""Who calls, and what for: a route names the permission it needs and the action that the audit calls it.

A route takes ``Annotated[Access, Depends(requires(Permission.SESSIONS_READ, "sessions.search"))]``. It reads with
``access.scope`` and awaits ``access.shown(…)`` before it returns anything: an answer that was not recorded is not sent.
"""

import hmac
import time
from collections.abc import Mapping
from hashlib import sha256
from typing import Annotated, Any, Protocol

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from procurator.access import Permission, Principal, Scope
from procurator.audit_events import ALLOWED
from procurator.query_api.problems import forbidden, too_many, unauthorized
from procurator.query_api.purpose import purpose_of
from procurator.query_api.rate_limit import RateLimiter

_BEARER = HTTPBearer(auto_error=False, description="`Authorization: Bearer <API key or JWT>`.")
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Authenticator(Protocol):
    """Knows principals by their bearer token."""

    async def principal(self, token: str) -> Principal | None:
        """Return whose token it is, or None. Raises Unavailable when that cannot be told now."""


class BrowserSessions(Protocol):
    """Knows principals by the cookie of a browser; the pages set it as ``app.state.browser_sessions``."""

    async def principal(self, request: Request) -> Principal | None:
        """Return whose session the request belongs to, or None. Raises 403 for a change without its CSRF token."""


class AdminKey:
    """The one key of an installation: whoever holds it is its operator and sees every organisation."""

    def __init__(self, key: str) -> None:
        if not key:
            raise ValueError("an empty admin key would let everybody in")
        # Digests have one length, so that comparing takes the same time whatever is sent.
        self._digest = sha256(key.encode()).digest()
        self._principal = Principal("key:admin", None, frozenset({Permission.ADMIN}))

    async def principal(self, token: str) -> Principal | None:
        """Return the operator, or None when ``token`` is not the key."""
        given = sha256(token.encode("utf-8", "surrogatepass")).digest()
        return self._principal if hmac.compare_digest(given, self._digest) else None


class Access:
    """One request of a principal that holds the route's permission, and the duty to record what it is shown."""

    def __init__(self, request: Request, principal: Principal, action: str) -> None:
        self._request = request
        self.principal = principal
        self.action = action
        #: Whether the audit has this request's event.
        self.recorded = False

    @property
    def scope(self) -> Scope:
        """Whose rows the request may touch."""
        return self.principal.scope

    async def shown(
        self,
        *,
        resource: str | None = None,
        owner_team_id: str | None = None,
        filter: Mapping[str, Any] | None = None,
        item_count: int | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """Record that the action is allowed; return when Kafka has it. Raises Unavailable when it does not.

        Await it before a body is returned, and before a change is made. Without ``resource`` the path's identifiers
        stand for it, without ``filter`` the query's parameters.
        """
        request = self._request
        if filter is None:
            given = request.query_params
            filter = {name: ",".join(given.getlist(name)) for name in given}
        if resource is None and request.path_params:
            resource = "/".join(map(str, request.path_params.values()))
        await request.app.state.services.audit.record(
            request,
            self.principal,
            self.action,
            ALLOWED,
            resource=resource,
            owner_team_id=owner_team_id,
            filter=filter,
            item_count=item_count,
            details=details,
        )
        self.recorded = True


class Requires:
    """A dependency of a route: the access of whoever calls, who must hold ``permission``."""

    def __init__(self, permission: Permission, action: str) -> None:
        self.permission = permission
        self.action = action

    async def __call__(
        self, request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]
    ) -> Access:
        """Return the access. Raises the problems 401, 403, 422 and 429, Unavailable when keys cannot be checked."""
        request.state.action = self.action
        principal = await _principal(request, credentials)
        request.state.principal = principal
        _take_turn(request, principal)
        request.state.purpose = purpose_of(request)
        if not principal.may(self.permission):
            raise forbidden(f"this needs the permission {self.permission}")
        access = Access(request, principal, self.action)
        request.state.access = access
        return access


def requires(permission: Permission, action: str) -> Requires:
    """Return the dependency of a route that needs ``permission`` and is called ``action`` in the audit."""
    return Requires(permission, action)


def _take_turn(request: Request, principal: Principal) -> None:
    """Raise the problem 429 when ``principal`` calls too often."""
    limiter: RateLimiter = request.app.state.rate_limiter
    wait_s = limiter.wait_s(principal.principal_id, time.monotonic())
    if wait_s:
        request.app.state.metrics.rate_limited.inc()
        raise too_many(wait_s)


async def _principal(request: Request, credentials: HTTPAuthorizationCredentials | None) -> Principal:
    if credentials is None:
        return await _of_browser(request)
    authenticator: Authenticator = request.app.state.authenticator
    principal = await authenticator.principal(credentials.credentials)
    if principal is None:
        raise unauthorized("this key is not known here")
    return principal


async def _of_browser(request: Request) -> Principal:
    """Return the principal of the browser's session; it may change nothing from another site's page."""
    sessions: BrowserSessions | None = getattr(request.app.state, "browser_sessions", None)
    principal = await sessions.principal(request) if sessions and "authorization" not in request.headers else None
    if principal is None:
        raise unauthorized("send the header `Authorization: Bearer <key>`")
    if request.method not in _SAFE_METHODS and request.headers.get("sec-fetch-site") != "same-origin":
        raise forbidden("a browser's session changes something from this site's own pages only")
    return principal
