"""Events that a session lost, until the ledger has been told. Threads share it; it does no IO."""

import threading
from typing import Any


class Gap:
    """Counts what was dropped or refused; `take` gives it as the payload of one event."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._payload: dict[str, Any] | None = None

    @property
    def pending(self) -> bool:
        """Whether something was lost that the ledger does not know of."""
        return self._payload is not None

    def add(self, sequence: int, reason: str) -> None:
        """Count one lost event; of several, the first one's reason is kept."""
        self._merge({"events_dropped": 1, "reason": reason, "first_sequence": sequence, "last_sequence": sequence})

    def take(self) -> dict[str, Any] | None:
        """Return the payload, or None; nothing is pending then."""
        with self._lock:
            payload, self._payload = self._payload, None
            return payload

    def put_back(self, payload: dict[str, Any]) -> None:
        """Make pending again what was taken and could not be told."""
        self._merge(payload)

    def _merge(self, payload: dict[str, Any]) -> None:
        with self._lock:
            held = self._payload
            if held is not None:
                payload = {
                    "events_dropped": held["events_dropped"] + payload["events_dropped"],
                    "reason": held["reason"],
                    "first_sequence": min(held["first_sequence"], payload["first_sequence"]),
                    "last_sequence": max(held["last_sequence"], payload["last_sequence"]),
                }
            self._payload = payload
