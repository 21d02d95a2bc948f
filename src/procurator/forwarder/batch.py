"""Which entries go together, and where that leads to. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import groupby

from procurator.forwarder.entries import Entry
from procurator.forwarder.window import Chunk
from procurator.webhooks.state import Entries, Positions

#: So many entries of a log are looked at in one go, so that a filter that matches little holds nobody up.
LOOK_MAX = 2_000


@dataclass(frozen=True)
class BatchPolicy:
    """A batch is full at ``entries_max`` or ``bytes_max``; one entry may be larger. Others wait ``linger_s``."""

    entries_max: int = 500
    bytes_max: int = 1_000_000
    linger_s: float = 0.25


@dataclass(frozen=True)
class Batch:
    """Entries in the order in which they are delivered, log by log, and the positions once they are."""

    entries: list[Entry]
    ends: Positions

    @property
    def pointers(self) -> tuple[Entries, ...]:
        """Where the entries stand."""
        logs = groupby(self.entries, key=lambda entry: entry.log_id)
        return tuple(Entries(log_id, tuple(entry.offset for entry in found)) for log_id, found in logs)

    def first(self, count: int) -> "Batch":
        """Return the batch of the first ``count`` entries: its ends stop where an entry was left out."""
        ends = dict(self.ends)
        for entry in self.entries[count:]:
            ends[entry.log_id] = min(entry.offset, ends[entry.log_id])
        return Batch(self.entries[:count], ends)


def numbered(entries: list[Entry], pointers: tuple[Entries, ...], first: int) -> list[tuple[int, Entry]]:
    """Return the entries with their numbers: ``first`` is that of the first pointer, whose entry may be no more."""
    places = ((each.log_id, offset) for each in pointers for offset in each.offsets)
    numbers = {place: number for number, place in enumerate(places, first)}
    return [(numbers[entry.log_id, entry.offset], entry) for entry in entries]


def gather(
    chunks: Mapping[str, Chunk],
    positions: Positions,
    wants: Callable[[Entry], bool],
    size_bytes: Callable[[Entry], int],
    policy: BatchPolicy,
) -> tuple[Batch, bool]:
    """Return the next batch from the logs that have a chunk, none with more than its share, and whether it is full."""
    entries: list[Entry] = []
    ends = dict(positions)
    room, full = policy.bytes_max, False
    share = max(1, policy.entries_max // max(1, len(chunks)))
    for most in (share, policy.entries_max):  # what some logs leave over is for the others
        for log_id, chunk in chunks.items():
            looked, end = chunk.since(ends[log_id], LOOK_MAX)
            taken = 0
            for entry in looked:
                if not wants(entry):
                    continue
                size = size_bytes(entry)
                full = full or len(entries) == policy.entries_max or bool(entries and size > room)
                if full or taken == most:
                    end = entry.offset
                    break
                entries.append(entry)
                taken, room = taken + 1, room - size
            ends[log_id] = end
    order = {log_id: place for place, log_id in enumerate(chunks)}
    entries.sort(key=lambda entry: (order[entry.log_id], entry.offset))
    return Batch(entries, ends), full
