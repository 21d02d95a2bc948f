"""Secrets and signatures: their form, what signs, what is at rest."""

import base64
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from procurator.errors import Unavailable, UserError
from procurator.webhooks.signature import new_secret, secret_bytes, signed_headers
from procurator.webhooks.vault import Vault

DOCS = Path(__file__).parents[3] / "docs"
_KEYS = st.binary(min_size=24, max_size=64)


@given(body=st.text(max_size=200).map(str.encode), keys=st.lists(_KEYS, min_size=1, max_size=3))
def test_the_library_of_standard_webhooks_verifies_with_each_key(body: bytes, keys: list[bytes]) -> None:
    import time

    headers = signed_headers("msg_1", int(time.time()), body, keys)
    for key in keys:
        Webhook("whsec_" + base64.b64encode(key).decode()).verify(body, headers, json_parse=False)


def test_the_receiver_of_the_documentation_verifies() -> None:
    """The example in docs/webhooks.md, run as it stands there."""
    (example,) = re.findall(r"```python\n(.*?)```", (DOCS / "webhooks.md").read_text("utf-8"), re.DOTALL)
    scope: dict[str, Any] = {}
    exec(example, scope)
    verified, secret = scope["verified"], new_secret()
    headers = signed_headers("msg_1", 1_000, b"{}", [secret_bytes(new_secret()), secret_bytes(secret)])
    assert verified(secret, headers, b"{}", now=1_100)
    assert not verified(secret, headers, b"{ }", now=1_100)
    assert not verified(new_secret(), headers, b"{}", now=1_100)
    assert not verified(secret, headers, b"{}", now=1_301), "too old"


@pytest.mark.parametrize(
    ("secret", "problem"),
    [
        ("", "does not begin with whsec_"),
        ("WHSEC_AAAA", "does not begin with whsec_"),
        ("whsec_", "this one has 0"),
        ("whsec_" + base64.b64encode(bytes(23)).decode(), "this one has 23"),
        ("whsec_" + base64.b64encode(bytes(65)).decode(), "this one has 65"),
        ("whsec_!!!!", "is no base64"),
        ("whsec_ü", "is no base64"),
    ],
)
def test_a_secret_of_another_form_is_refused_without_being_repeated(secret: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem) as refused:
        secret_bytes(secret)
    assert len(secret) < 8 or secret not in str(refused.value)


def test_new_secrets_differ_and_have_the_form() -> None:
    made = {new_secret() for _ in range(50)}
    assert len(made) == 50
    assert {len(secret_bytes(secret)) for secret in made} == {32}


def test_what_is_sealed_opens_with_the_same_key_for_the_same_endpoint_alone() -> None:
    vault = Vault("a key of thirty-two characters or more")
    sealed = vault.seal(b"secret", "one")
    assert b"secret" not in sealed
    assert vault.unseal(sealed, "one") == b"secret"
    assert vault.seal(b"secret", "one") != sealed
    for other, endpoint_id, text in (
        (vault, "two", sealed),
        (Vault("another key of thirty-two characters"), "one", sealed),
        (vault, "one", sealed[:-1] + bytes([sealed[-1] ^ 1])),
        (vault, "one", b""),
    ):
        with pytest.raises(UserError, match="were sealed with another PROCURATOR_WEBHOOK_KEY"):
            other.unseal(text, endpoint_id)
    with pytest.raises(Unavailable, match="set PROCURATOR_WEBHOOK_KEY"):
        Vault("").seal(b"secret", "one")
