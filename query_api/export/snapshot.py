"""Which sessions an export holds, and how they are cut into files: a pure function of the snapshot's file."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

import orjson


@dataclass(frozen=True)
class PartPolicy:
    """A file ends with the session that makes it so many entries, or after so many sessions.

    Ids of 5,000 sessions fit into a statement of 256 KiB.
    """

    events_max: int = 100_000
    sessions_max: int = 5_000


PART_POLICY = PartPolicy()


class Part(NamedTuple):
    """One file of entries: its number from 0, the sessions in it, and how many entries their states count."""

    number: int
    session_ids: tuple[UUID, ...]
    events: int

    @property
    def stem(self) -> str:
        return f"events-{self.number:06}"


def extent(lines: Iterable[bytes]) -> tuple[int, dict[str, int]]:
    """Return how many entries the sessions' states count, and for each log the offset after the last of them."""
    events, ends = 0, dict[str, int]()
    for line in lines:
        session = orjson.loads(line)
        log_id = session["log_id"]
        ends[log_id] = max(ends.get(log_id, 0), session["as_of_offset"] + 1)
        events += _entries(session)
    return events, ends


def parts(
    lines: Iterable[bytes], policy: PartPolicy = PART_POLICY, done_sessions: int = 0, done_parts: int = 0
) -> Iterator[Part]:
    """Yield the files that are still to be written. ``lines``: a session each, as JSON, in the snapshot's order."""
    ids: list[UUID] = []
    events, number = 0, done_parts
    for at, line in enumerate(lines):
        if at < done_sessions:
            continue
        session = orjson.loads(line)
        ids.append(UUID(session["session_id"]))
        events += _entries(session)
        if events >= policy.events_max or len(ids) >= policy.sessions_max:
            yield Part(number, tuple(ids), events)
            ids, events, number = [], 0, number + 1
    if ids:
        yield Part(number, tuple(ids), events)


def _entries(session: dict[str, Any]) -> int:
    return int(session["events"] + session["repeated_events"])
