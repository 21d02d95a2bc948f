"""Keys of the API: what opens, what is kept."""

from dataclasses import replace

import pytest

from procurator.access import Permission, Principal
from procurator.api_keys import ApiKey, key_id_of, new_key
from procurator.avro_schemas.codec import Decoder, load_schema


def _new(expires_at: int | None = None) -> tuple[str, ApiKey]:
    return new_key(
        name="export",
        org_id="acme",
        owner_team_ids=frozenset({"payments"}),
        permissions=frozenset({Permission.SESSIONS_READ}),
        created_by="key:admin",
        now_us=10,
        expires_at=expires_at,
    )


def test_a_key_opens_and_says_which_it_is() -> None:
    token, key = _new()
    assert token.startswith(f"{key.prefix}_")
    assert key_id_of(token) == key.key_id
    assert key.opens(token, 11)
    assert key.principal == Principal(f"key:{key.key_id}", "acme", key.permissions, frozenset({"payments"}))


def test_nothing_that_is_kept_opens() -> None:
    token, key = _new()
    assert token.rpartition("_")[2] not in repr(key)
    assert not key.opens(key.secret_sha256.hex(), 11)
    assert not key.opens(key.prefix, 11)
    assert not key.opens(f"{key.prefix}_{'A' * 43}", 11)


def test_a_key_that_is_over_or_revoked_opens_nothing() -> None:
    token, key = _new(expires_at=20)
    assert key.opens(token, 19)
    assert not key.opens(token, 20)
    revoked = key.revoked("ann", 15)
    assert not revoked.opens(token, 16)
    assert revoked.revoked("bob", 17) == revoked, "who revoked it first stays known"


@pytest.mark.parametrize("text", ["", "prk_", "prk_a_b", "prk_ABCDEFGHIJKLMNOP_" + "A" * 43, "\ud800", "a.b.c"])
def test_other_texts_are_no_keys(text: str) -> None:
    assert key_id_of(text) is None


def test_keys_differ() -> None:
    assert len({_new()[0] for _ in range(100)}) == 100


def test_the_record_is_the_key_without_what_is_not_known() -> None:
    _, key = _new(expires_at=99)
    schema = load_schema("api_key")
    raw = Decoder(schema, lambda _id: schema.text).decode(schema.encode(key.to_record(), 1))
    assert ApiKey.from_record(raw) == key
    later = {**key.to_record(), "permissions": ["sessions:read", "sessions:fly"]}
    assert ApiKey.from_record(later) == key


def test_an_operators_key_has_no_organisation() -> None:
    _, key = _new()
    assert replace(key, org_id=None).principal.scope.org_id is None
