"""Who calls: a bearer key becomes a principal, and a route names the permission it needs."""

import hmac
from hashlib import sha256
from typing import Annotated, Protocol

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from procurator.access import Permission, Principal
from procurator.query_api.problems import forbidden, unauthorized

_BEARER = HTTPBearer(auto_error=False, description="An API key: `Authorization: Bearer <key>`.")


class Authenticator(Protocol):
    """Knows principals by their bearer token."""

    def principal(self, token: str) -> Principal | None:
        """Return whose token it is, or None."""


class AdminKey:
    """The one key of an installation: whoever holds it is its operator and sees every organisation."""

    def __init__(self, key: str) -> None:
        if not key:
            raise ValueError("an empty admin key would let everybody in")
        # Digests have one length, so that comparing takes the same time whatever is sent.
        self._digest = sha256(key.encode()).digest()
        self._principal = Principal("key:admin", None, frozenset({Permission.ADMIN}))

    def principal(self, token: str) -> Principal | None:
        """Return the operator, or None when ``token`` is not the key."""
        given = sha256(token.encode("utf-8", "surrogatepass")).digest()
        return self._principal if hmac.compare_digest(given, self._digest) else None


class Requires:
    """A dependency of a route: the principal that calls, who must hold ``permission``."""

    def __init__(self, permission: Permission) -> None:
        self.permission = permission

    async def __call__(
        self, request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]
    ) -> Principal:
        """Return the principal. Raises the problems 401 and 403."""
        if credentials is None:
            raise unauthorized("send the header `Authorization: Bearer <key>`")
        authenticator: Authenticator = request.app.state.authenticator
        principal = authenticator.principal(credentials.credentials)
        if principal is None:
            raise unauthorized("this key is not known here")
        request.state.principal = principal
        if not principal.may(self.permission):
            raise forbidden(f"this needs the permission {self.permission}")
        return principal
