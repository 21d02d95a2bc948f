"""IO: one endpoint's messages: written, signed, sent, one at a time."""

from collections.abc import Callable
from contextlib import suppress

from procurator.clock import now_us
from procurator.errors import UserError
from procurator.forwarder import formats
from procurator.forwarder.batch import numbered
from procurator.forwarder.entries import Entry
from procurator.forwarder.sender import Answer, Sender
from procurator.webhooks.endpoint import Endpoint
from procurator.webhooks.signature import signed_headers
from procurator.webhooks.state import Entries
from procurator.webhooks.vault import Vault

#: Stands for the answer where everything in a batch was purged meanwhile.
_NOTHING_LEFT = Answer(200, "")


class Post:
    """Sends to wherever the endpoint is at the time. Raises UserError when its secrets cannot be opened."""

    def __init__(self, vault: Vault, sender: Callable[[Endpoint], Sender]) -> None:
        self._vault = vault
        self._new_sender = sender
        self._sender: Sender | None = None

    async def entries(
        self, endpoint: Endpoint, entries: list[Entry], pointers: tuple[Entries, ...], sequence: int
    ) -> Answer:
        """Send entries with the numbers of their places; the message's id says which numbers it has."""
        if not entries:
            return _NOTHING_LEFT
        body = formats.body(endpoint.format, endpoint.endpoint_id, numbered(entries, pointers, sequence))
        return await self._send(endpoint, f"msg_{endpoint.endpoint_id}_{sequence}_{len(entries)}", body)

    async def test(self, endpoint: Endpoint, request_id: str, at_us: int) -> Answer:
        """Send a test delivery."""
        body = formats.test_body(endpoint.format, endpoint.endpoint_id, at_us)
        return await self._send(endpoint, f"test_{request_id}", body)

    async def close(self) -> None:
        """Close the connection."""
        if self._sender is not None:
            await self._sender.close()

    async def _send(self, endpoint: Endpoint, message_id: str, body: bytes) -> Answer:
        at_us, unseal = now_us(), self._vault.unseal
        newest, *older = endpoint.signing(at_us)
        keys = [unseal(newest.sealed, endpoint.endpoint_id)]
        for secret in older:
            with suppress(UserError):  # Sealed with the key before this one.
                keys.append(unseal(secret.sealed, endpoint.endpoint_id))
        signed = signed_headers(message_id, at_us // 1_000_000, body, keys)
        token = None if endpoint.token is None else unseal(endpoint.token, endpoint.endpoint_id).decode()
        if self._sender is None or self._sender.url != endpoint.url:
            await self.close()
            self._sender = self._new_sender(endpoint)
        return await self._sender.post({**formats.headers(endpoint.format, token), **signed}, body)
