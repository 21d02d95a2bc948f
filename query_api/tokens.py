"""Signed tokens (JWT) of an identity provider: which are believed, and who calls with one. Pure but for `Tokens`.

Believed is a token that is signed by a key of the provider's JWKS with one of `ALGORITHMS`, which are pinned here and
never taken from the token, for our audience, by our issuer, at this time. What its claims grant is a setting's to say
(docs/identity.md). A token always belongs to one organisation: only the admin key's holder is the operator.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from joserfc import jwt
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwk import Key
from joserfc.jws import JWSRegistry, extract_compact

from procurator.access import Permission, Principal
from procurator.clock import now_us
from procurator.config import Settings
from procurator.errors import UserError

#: Signatures of a private key alone: with none of these can a published key be used as a shared secret.
ALGORITHMS = frozenset({"RS256", "ES256", "EdDSA", "Ed25519"})
LEEWAY_S = 30
_TOKEN_CHARS_MAX = 16_384
_NAME_CHARS_MAX = 200


@dataclass(frozen=True)
class TokenPolicy:
    """Whose tokens are believed, and which claims say what. A claim is a name or a path with dots."""

    issuer: str
    audience: str
    principal_claim: str = "sub"
    org_claim: str = "org_id"
    teams_claim: str = "teams"
    permissions_claim: str = "permissions"
    #: What a role that the provider knows grants, beside the permissions' own names.
    roles: Mapping[str, frozenset[Permission]] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """Return the policy that the settings ask for; None without an issuer. Raises UserError for odd roles."""
        if not settings.oidc_issuer:
            return None
        return cls(
            issuer=settings.oidc_issuer,
            audience=settings.oidc_audience,
            principal_claim=settings.oidc_principal_claim,
            org_claim=settings.oidc_org_claim,
            teams_claim=settings.oidc_teams_claim,
            permissions_claim=settings.oidc_permissions_claim,
            roles=parse_roles(settings.oidc_roles),
        )


class Keys(Protocol):
    """The provider's keys."""

    async def find(self, key_id: str) -> Key | None:
        """Return the key of that id, None when there is none. Raises Unavailable when that cannot be told now."""


class Tokens:
    """Knows principals by a provider's tokens. ``now_us`` is microseconds since the epoch."""

    def __init__(self, policy: TokenPolicy, keys: Keys, now_us: Callable[[], int] = now_us) -> None:
        self._policy = policy
        self._keys = keys
        self._now_us = now_us

    async def principal(self, token: str) -> Principal | None:
        """Return who calls with a token that is believed; None for any other text. Raises Unavailable."""
        key_id = _key_id_of(token)
        key = None if key_id is None else await self._keys.find(key_id)
        if key is None:
            return None
        claims = believed(token, key, self._policy, self._now_us() // 1_000_000)
        return None if claims is None else principal_of(claims, self._policy)


class _Pinned(JWSRegistry):
    """No algorithm but ours, whatever a token asks for."""

    def get_alg(self, name: str) -> Any:
        if name not in ALGORITHMS:
            raise UnsupportedAlgorithmError(f"algorithm {name!r} is not one of {', '.join(sorted(ALGORITHMS))}")
        return self.algorithms[name]


_REGISTRY = _Pinned(strict_check_header=False)


def believed(token: str, key: Key, policy: TokenPolicy, now_s: int) -> dict[str, Any] | None:
    """Return the claims of a token that ``key`` signed and that holds at ``now_s`` (Unix seconds), else None."""
    registry = jwt.JWTClaimsRegistry(
        now=now_s,
        leeway=LEEWAY_S,
        iss={"essential": True, "value": policy.issuer},
        aud={"essential": True, "value": policy.audience},
        exp={"essential": True},
    )
    try:
        decoded = jwt.decode(token, key, registry=_REGISTRY)
        registry.validate(decoded.claims)
    except (JoseError, ValueError, TypeError, RecursionError):
        return None
    return decoded.claims


def principal_of(claims: Mapping[str, Any], policy: TokenPolicy) -> Principal | None:
    """Return who the claims name; None without a subject or an organisation."""
    subject, org_id = _claim(claims, policy.principal_claim), _claim(claims, policy.org_claim)
    if not (
        isinstance(subject, str) and subject and _is_name(subject) and isinstance(org_id, str) and _is_name(org_id)
    ):
        return None
    granted = _texts(_claim(claims, policy.permissions_claim))
    known = {permission.value: frozenset({permission}) for permission in Permission}
    permissions = frozenset[Permission]().union(
        *(known.get(name, frozenset()) | policy.roles.get(name, frozenset()) for name in granted)
    )
    teams = frozenset(filter(_is_name, _texts(_claim(claims, policy.teams_claim))))
    try:
        return Principal(f"user:{subject}", org_id, permissions, teams)
    except ValueError:  # an organisation that cannot be
        return None


def parse_roles(text: str) -> dict[str, frozenset[Permission]]:
    """Parse ``role=permission role=permission …``; a role may stand several times. Raises UserError."""
    roles: dict[str, frozenset[Permission]] = {}
    for pair in text.replace(",", " ").split():
        role, equals, name = pair.partition("=")
        try:
            permission = Permission(name)
        except ValueError:
            equals = ""
        if not role or not equals:
            expected = f"role=permission, the permissions being {', '.join(Permission)}"
            raise UserError(f"PROCURATOR_OIDC_ROLES: {pair!r} is not {expected}")
        roles[role] = roles.get(role, frozenset()) | {permission}
    return roles


def _key_id_of(token: str) -> str | None:
    """Return the id of the key that a token claims to be signed with; None for what is no token of ours."""
    if len(token) > _TOKEN_CHARS_MAX or token.count(".") != 2:
        return None
    try:
        header = extract_compact(token.encode("ascii")).headers()
    except (JoseError, ValueError, TypeError, RecursionError):
        return None
    key_id, algorithm = header.get("kid"), header.get("alg")
    return key_id if isinstance(key_id, str) and isinstance(algorithm, str) and algorithm in ALGORITHMS else None


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """Return a claim by its name, else by its path."""
    if name in claims:
        return claims[name]
    value: Any = claims
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _texts(value: Any) -> list[str]:
    """Return a list's texts, or the words of one text (as OAuth's ``scope`` has them)."""
    if isinstance(value, str):
        return value.split()
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _is_name(text: str) -> bool:
    """Tell whether a text can stand in logs and in the ledger: no control characters, no halves of characters."""
    return len(text) <= _NAME_CHARS_MAX and text.isprintable()
