"""Signatures as Standard Webhooks specify them (standardwebhooks.com, v1): HMAC-SHA256. Pure but for new secrets.

Signed is ``<message id>.<seconds since the epoch>.<body>``; the header has one signature for each secret in force.
"""

import base64
import binascii
import hmac
import secrets
from collections.abc import Iterable

from procurator.errors import UserError

PREFIX = "whsec_"
_NEW_BYTES = 32
_BYTES_MIN, _BYTES_MAX = 24, 64


def new_secret() -> str:
    """Return a new secret as its receiver is told it."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_NEW_BYTES)).decode()


def secret_bytes(text: str) -> bytes:
    """Return the key in a secret. Raises UserError when it is of another form, without repeating it."""
    form = f"a secret is {PREFIX} and {_BYTES_MIN} to {_BYTES_MAX} random bytes in base64"
    if not text.startswith(PREFIX):
        raise UserError(f"{form}: this one does not begin with {PREFIX}")
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise UserError(f"{form}: what follows {PREFIX} is no base64") from None
    if not _BYTES_MIN <= len(key) <= _BYTES_MAX:
        raise UserError(f"{form}: this one has {len(key)}")
    return key


def signed_headers(message_id: str, at_s: int, body: bytes, keys: Iterable[bytes]) -> dict[str, str]:
    """Return the headers that identify and sign a message; one signature for each key."""
    signed = b"%s.%d.%s" % (message_id.encode(), at_s, body)
    signatures = (base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in keys)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(at_s),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
