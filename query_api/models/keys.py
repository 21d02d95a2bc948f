"""API keys as the API shows and makes them."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from procurator.access import Permission
from procurator.api_keys import ApiKey
from procurator.clock import to_rfc3339
from procurator.query_api.models.common import Model, Time

_DAYS_MAX = 3650
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class KeyBody(BaseModel):
    """A key to make."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")

    name: Name = Field(examples=["nightly export"])
    """What it is for, for people."""
    permissions: list[Permission] = Field(min_length=1, max_length=20, examples=[["sessions:read"]])
    """What it may do."""
    owner_team_ids: list[Name] = Field(default_factory=list, max_length=1000, examples=[["payments"]])
    """Owner teams whose sessions it reaches; without effect beside `sessions:read:all` and `admin`."""
    org_id: Name | None = Field(None, examples=["acme"])
    """Organisation it belongs to: the caller's own, which need not be given; the operator says which."""
    every_organisation: bool = False
    """True makes an operator's key, which reaches every organisation; only the operator makes one."""
    expires_in_days: int | None = Field(90, ge=1, le=_DAYS_MAX)
    """It opens nothing after so many days; null never expires."""


class KeyModel(Model):
    """A key without its secret, which nobody can tell."""

    key_id: str = Field(examples=["u44ii41qfemx9eku"])
    prefix: str = Field(examples=["prk_u44ii41qfemx9eku"])
    """How the key begins: enough to recognise it."""
    name: str
    org_id: str | None
    """Null is an operator's key: every organisation."""
    owner_team_ids: list[str]
    permissions: list[str]
    state: Literal["active", "expired", "revoked"]
    created_at: Time
    created_by: str
    expires_at: Time | None
    revoked_at: Time | None
    revoked_by: str | None


class NewKey(KeyModel):
    """A key that was just made."""

    key: str
    """The key itself, shown this once."""


def key_json(key: ApiKey, now_us: int) -> dict[str, object]:
    """Return the values of `KeyModel`."""
    over = key.expires_at is not None and key.expires_at <= now_us
    return {
        "key_id": key.key_id,
        "prefix": key.prefix,
        "name": key.name,
        "org_id": key.org_id,
        "owner_team_ids": sorted(key.owner_team_ids),
        "permissions": sorted(key.permissions),
        "state": "revoked" if key.revoked_at is not None else "expired" if over else "active",
        "created_at": to_rfc3339(key.created_at),
        "created_by": key.created_by,
        "expires_at": None if key.expires_at is None else to_rfc3339(key.expires_at),
        "revoked_at": None if key.revoked_at is None else to_rfc3339(key.revoked_at),
        "revoked_by": key.revoked_by,
    }
