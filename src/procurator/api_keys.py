"""Keys of the API: what one is, how it is made, when it opens. Pure but for the random bytes.

A key is ``prk_<key id>_<secret>``: a prefix that secret scanners can look for, an id that may be shown and logged, and
256 random bits. Only the SHA-256 of the whole is kept. A slow hash would add nothing: it protects secrets that can be
guessed, and 256 random bits cannot.
"""

import hmac
import re
import secrets
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Self

from procurator.access import Permission, Principal

PREFIX = "prk"
_SECRET_BYTES = 32
_ID_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
_ID_CHARS = 16
_KEY = re.compile(rf"{PREFIX}_([a-z0-9]{{{_ID_CHARS}}})_[A-Za-z0-9_-]{{43}}").fullmatch


@dataclass(frozen=True)
class ApiKey:
    """One key. ``org_id`` None is the operator's: it reaches every organisation. Times are µs since the epoch."""

    key_id: str
    secret_sha256: bytes
    name: str
    org_id: str | None
    owner_team_ids: frozenset[str]
    permissions: frozenset[Permission]
    created_at: int
    created_by: str
    expires_at: int | None = None
    revoked_at: int | None = None
    revoked_by: str | None = None

    @property
    def prefix(self) -> str:
        """The part of the key that may be shown: enough to tell which one it is."""
        return f"{PREFIX}_{self.key_id}"

    @property
    def principal(self) -> Principal:
        """Who calls with this key."""
        return Principal(f"key:{self.key_id}", self.org_id, self.permissions, self.owner_team_ids)

    def opens(self, token: str, now_us: int) -> bool:
        """Tell whether ``token`` is this key, and the key is neither revoked nor over."""
        given = sha256(token.encode("utf-8", "surrogatepass")).digest()
        if not hmac.compare_digest(given, self.secret_sha256):
            return False
        return self.revoked_at is None and (self.expires_at is None or now_us < self.expires_at)

    def revoked(self, by: str, now_us: int) -> "ApiKey":
        """Return the key as revoked; one that is already keeps who and when."""
        return self if self.revoked_at is not None else replace(self, revoked_at=now_us, revoked_by=by)

    def to_record(self) -> dict[str, Any]:
        """Return the raw record of api_key.avsc."""
        return {
            **vars(self),
            "owner_team_ids": sorted(self.owner_team_ids),
            "permissions": sorted(self.permissions),
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """Return the key in a record; a permission that this version does not know grants nothing."""
        known = frozenset(Permission(name) for name in record["permissions"] if name in set(Permission))
        return cls(**{**record, "owner_team_ids": frozenset(record["owner_team_ids"]), "permissions": known})


def key_id_of(token: str) -> str | None:
    """Return the id in a key, or None when the text is no key of ours."""
    found = _KEY(token)
    return found and found[1]


def new_key(
    *,
    name: str,
    org_id: str | None,
    owner_team_ids: frozenset[str],
    permissions: frozenset[Permission],
    created_by: str,
    now_us: int,
    expires_at: int | None,
) -> tuple[str, ApiKey]:
    """Return a new key as its holder sends it, which nobody can tell again, and what is kept of it."""
    key_id = "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_CHARS))
    token = f"{PREFIX}_{key_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    digest = sha256(token.encode()).digest()
    return token, ApiKey(
        key_id, digest, name, org_id, owner_team_ids, permissions, now_us, created_by, expires_at=expires_at
    )
