"""Secrets at rest: sealed with a key from the settings before they go to Kafka. Pure but for the nonces.

AES-256-GCM under SHA-256 of the setting; the endpoint's id is authenticated with it, so that a sealed secret opens
nowhere else. Who reads the topic without the key learns nothing; who has the key signs in our name.
"""

import os
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from procurator.errors import Unavailable, UserError

_NONCE_BYTES = 12


class Vault:
    """Seals and opens. ``key`` is PROCURATOR_WEBHOOK_KEY; an empty one raises Unavailable at the first use."""

    def __init__(self, key: str) -> None:
        self._cipher = AESGCM(sha256(b"procurator webhooks" + key.encode()).digest()) if key else None

    def seal(self, secret: bytes, endpoint_id: str) -> bytes:
        """Return ``secret`` sealed for an endpoint."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._open().encrypt(nonce, secret, endpoint_id.encode())

    def unseal(self, sealed: bytes, endpoint_id: str) -> bytes:
        """Return the secret. Raises UserError when it was sealed with another key or for another endpoint."""
        nonce, text = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return self._open().decrypt(nonce, text, endpoint_id.encode())
        except (InvalidTag, ValueError):
            message = f"the secrets of webhook {endpoint_id} were sealed with another PROCURATOR_WEBHOOK_KEY"
            raise UserError(f"{message}: set that one, or rotate the secret") from None

    def _open(self) -> AESGCM:
        if self._cipher is None:
            raise Unavailable("webhooks are off: set PROCURATOR_WEBHOOK_KEY, for API and forwarder alike")
        return self._cipher
