"""The newest entries of every log, in memory, for all endpoints at once. Pure.

Whoever keeps up reads here, each at its own pace; whoever falls behind the window's start reads its log again
(`procurator.forwarder.history`). Nobody is waited for, so a slow endpoint costs the others nothing.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Mapping

from procurator.forwarder.entries import Entry


class Chunk:
    """What stands in a log from offset ``start`` to before ``end``, as far as it can be delivered."""

    def __init__(self, start: int) -> None:
        self.start = self.end = start
        self._offsets: list[int] = []
        self._entries: list[Entry] = []

    def add(self, entries: list[Entry], end: int) -> None:
        """Append what stands before ``end``."""
        self._entries += entries
        self._offsets += [entry.offset for entry in entries]
        self.end = end

    def since(self, position: int, most: int) -> tuple[list[Entry], int]:
        """Return up to ``most`` entries from a position not before ``start`` on, and the position after them."""
        if position < self.start:  # What stands before it would be passed over, and nobody would know.
            raise ValueError(f"a chunk that begins at {self.start} was asked for {position}")
        at = bisect_left(self._offsets, position)
        found = self._entries[at : at + most]
        return found, max(position, self.end) if len(found) < most else found[-1].offset + 1

    def drop(self, end: int) -> None:
        """Forget what stands before ``end``."""
        at = bisect_left(self._offsets, end)
        del self._offsets[:at], self._entries[:at]
        self.start = end


class Window:
    """One chunk for each log, together at most ``bytes_max`` of records; it begins empty at ``starts``."""

    def __init__(self, starts: Mapping[str, int], bytes_max: int) -> None:
        self.chunks = {log_id: Chunk(start) for log_id, start in starts.items()}
        self._bytes_max = bytes_max
        self._bytes = 0
        #: Log, end and size of what was added, the oldest first.
        self._added: deque[tuple[str, int, int]] = deque()

    @property
    def ends(self) -> dict[str, int]:
        """The next offset of each log."""
        return {log_id: chunk.end for log_id, chunk in self.chunks.items()}

    def add(self, log_id: str, entries: list[Entry], end: int) -> None:
        """Append what was read of a log before ``end``; what is oldest goes, once there is too much."""
        self.chunks[log_id].add(entries, end)
        size = sum(entry.size_bytes for entry in entries)
        self._added.append((log_id, end, size))
        self._bytes += size
        while self._bytes > self._bytes_max and len(self._added) > 1:
            oldest, before, freed = self._added.popleft()
            self.chunks[oldest].drop(before)
            self._bytes -= freed

    def forget(self) -> None:
        """Let go of all: what was is read again by whoever asks for it."""
        for chunk in self.chunks.values():
            chunk.drop(chunk.end)
        self._added.clear()
        self._bytes = 0
