"""IO: checkpoints, proofs and seals from the query API, for whoever has no access to the tables."""

from base64 import b64decode
from typing import Any

import httpx

from procurator.config import Settings
from procurator.errors import Unavailable, UserError

TIMEOUT_S = 60.0


class RemoteLedger:
    """The ledger's routes of one API."""

    def __init__(self, settings: Settings) -> None:
        key = settings.api_key.get_secret_value()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._url = settings.api_url.rstrip("/")
        self._client = httpx.Client(base_url=self._url, headers=headers, timeout=TIMEOUT_S, trust_env=False)

    def close(self) -> None:
        self._client.close()

    def checkpoint(self) -> bytes:
        """Return the newest signed note."""
        return self._get("/v1/ledger/checkpoint").content

    def consistency(self, origin: str, size1: int, size2: int) -> list[bytes]:
        """Return the consistency proof between two sizes."""
        answer: dict[str, Any] = self._get("/v1/ledger/consistency", {"from": size1, "to": size2}).json()
        return [b64decode(node) for node in answer["proof"]]

    def seal(self, session_id: str) -> bytes:
        """Return a session's bundle as the bytes of its file."""
        return self._get(f"/v1/sessions/{session_id}/seal").content

    def export(self, session_id: str) -> bytes:
        """Return a session's export as the bytes of its file."""
        return self._get(f"/v1/sessions/{session_id}/export").content

    def _get(self, path: str, params: dict[str, int] | None = None) -> httpx.Response:
        try:
            response = self._client.get(path, params=params)
        except httpx.TransportError as error:
            raise Unavailable(f"the API at {self._url} does not answer: {error}") from error
        if response.is_error:
            kind = Unavailable if response.status_code >= 500 else UserError
            raise kind(f"the API at {self._url} answered {response.status_code} to {path}: {response.text[:300]}")
        return response
