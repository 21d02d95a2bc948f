"""Who listens: what waits for one listener, and whether it keeps up. For one event loop; pure but for waking it."""

import asyncio
from collections import deque
from dataclasses import dataclass

from procurator.errors import ProcuratorError
from procurator.query_api.live.records import LiveRecord


@dataclass(frozen=True)
class ListenerPolicy:
    """How much may wait for a listener before it is dropped."""

    records_max: int = 2_000
    bytes_max: int = 16 * 1024 * 1024


LISTENER_POLICY = ListenerPolicy()


class Dropped(ProcuratorError):
    """The stream ends here and may be resumed. ``reason`` is for programs (docs/live.md), the message for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Listener:
    """A bounded queue from the hub to one stream. Nothing is put into it until it has `join`ed."""

    def __init__(self, policy: ListenerPolicy = LISTENER_POLICY) -> None:
        self._policy = policy
        self._waiting: deque[LiveRecord] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._dropped: Dropped | None = None
        self.is_live = False

    def join(self, records: "list[LiveRecord]") -> None:
        """Be live from now on, beginning with the records that the ring holds after where the ledger ended."""
        self._waiting = deque(records)
        self._bytes = sum(record.size_bytes for record in records)
        self.is_live = True
        self._wake.set()

    def leave(self) -> None:
        """Be live no longer: what waits is forgotten, it stands in the ledger. Told to join again by `is_live`."""
        self._forget()
        self.is_live = False
        self._wake.set()

    def offer(self, record: LiveRecord) -> bool:
        """Take a record; a listener that is not live does not. Return False when that drops it: it does not keep up."""
        if not self.is_live or self._dropped is not None:
            return True
        self._waiting.append(record)
        self._bytes += record.size_bytes
        self._wake.set()
        if len(self._waiting) <= self._policy.records_max and self._bytes <= self._policy.bytes_max:
            return True
        self.drop("slow", "this listener takes records more slowly than they come; connect again to go on")
        return False

    def drop(self, reason: str, message: str) -> None:
        """End the stream; the reason is raised to it by `take`. What waits is forgotten."""
        self._dropped = self._dropped or Dropped(reason, message)
        self._forget()
        self._wake.set()

    def check(self) -> None:
        """Raise Dropped when the stream is to end."""
        if self._dropped is not None:
            raise self._dropped

    def take(self) -> list[LiveRecord]:
        """Return and forget what waits. Raises Dropped."""
        self.check()
        taken = list(self._waiting)
        self._forget()
        return taken

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until something happened; return False when nothing did for so long."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()
        except TimeoutError:
            return False
        self._wake.clear()
        return True

    def _forget(self) -> None:
        self._waiting.clear()
        self._bytes = 0
