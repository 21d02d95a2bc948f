"""Which sessions an export holds, and how they are cut into files: a pure function of the snapshot's file."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple
from uuid import UUID

import orjson

#: A file ends after the session with which it has so many entries, or after so many sessions (whose ids must fit into a
#: statement of 256 KiB).
PART_EVENTS_MAX = 100_000
PART_SESSIONS_MAX = 5_000


class Part(NamedTuple):
    """One file of entries: its number from 0, the sessions in it, and how many entries their states count."""

    number: int
    session_ids: tuple[UUID, ...]
    events: int

    @property
    def stem(self) -> str:
        return f"events-{self.number:06}"


def parts(lines: Iterable[bytes], done_sessions: int = 0, done_parts: int = 0) -> Iterator[Part]:
    """Yield the files that are still to be written. ``lines``: a session each, as JSON, in the snapshot's order."""
    ids: list[UUID] = []
    events, number = 0, done_parts
    for at, line in enumerate(lines):
        if at < done_sessions:
            continue
        session = orjson.loads(line)
        ids.append(UUID(session["session_id"]))
        events += session["events"] + session["repeated_events"]
        if events >= PART_EVENTS_MAX or len(ids) >= PART_SESSIONS_MAX:
            yield Part(number, tuple(ids), events)
            ids, events, number = [], 0, number + 1
    if ids:
        yield Part(number, tuple(ids), events)
