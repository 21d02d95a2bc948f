"""What a partition's restored states tell before a record is folded: which sessions are open, how far they reach. Pure.

A log may hold a million states, nearly all of sessions that have ended: only the first fields of a record are decoded
to tell those, which takes a fifth of the time, and they are put away as they come.
"""

import io
import json
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

import fastavro

from procurator.avro_schemas.codec import HEADER, Decoder, parse_schema
from procurator.budgets import Counter
from procurator.errors import Fatal, Rejected
from procurator.session_state import SessionState
from procurator.stream_processors.budgets.sessions import OpenSession
from procurator.transitions import TERMINAL

_LAST_FIELD = "status"


class Ended(Protocol):
    """Where the encoded states of sessions that have ended are put."""

    def __setitem__(self, session_id: str, value: bytes, /) -> None: ...

    def pop(self, session_id: str, default: None, /) -> object: ...


class Restored(NamedTuple):
    """A log: its open sessions that are not imported, the highest offset that any state has folded, its counters."""

    open_sessions: list[OpenSession]
    folded_to: int
    counters: list[Counter]


class Restoring:
    """The states of ``log_id`` as they are read; what is another log's (a recreated topic's) is left.

    ``open`` has the encoded states of open sessions; ``records`` counts those of all.
    """

    def __init__(self, log_id: str, fetch_schema: Callable[[int], str], ended: Ended) -> None:
        self.open: dict[str, bytes] = {}
        self.records = 0
        self._log_id = log_id
        self._fetch_schema = fetch_schema
        self._ended = ended
        self._heads: dict[int, Any] = {}
        self._folded_to = -1

    def take(self, key: bytes, value: bytes | None) -> None:
        """Take the next record of the state topic. Raises Unavailable while the registry is away."""
        session_id = key.decode("utf-8", "replace")
        if value is None:
            self.open.pop(session_id, None)
            self._ended.pop(session_id, None)
            return
        first = self._first_fields(value)
        if first["log_id"] != self._log_id:
            return
        self.records += 1
        self._folded_to = max(self._folded_to, first["as_of_offset"])
        if first["status"] in TERMINAL:
            self.open.pop(session_id, None)
            self._ended[session_id] = value
        else:
            self.open[session_id] = value

    def finish(self, partition: int, decoder: Decoder, counters: Iterable[Counter]) -> Restored:
        """Return what has been read. Raises Fatal for a record that is none of ours."""
        open_sessions = []
        for session_id, value in self.open.items():
            try:
                state = SessionState.from_record(decoder.decode(value))
            except Rejected as error:
                raise Fatal(f"the state of session {session_id} is none of ours: {error}") from error
            if not state.imported:
                open_sessions.append(OpenSession.of(state, partition))
        own = [counter for counter in counters if counter.key.log_id == self._log_id]
        return Restored(open_sessions, self._folded_to, own)

    def _first_fields(self, value: bytes) -> dict[str, Any]:
        _, schema_id = HEADER.unpack_from(value)
        head = self._heads.get(schema_id)
        if head is None:
            head = self._heads[schema_id] = _head(self._fetch_schema(schema_id))
        source = io.BytesIO(value)
        source.seek(HEADER.size)
        first: dict[str, Any] = fastavro.schemaless_reader(source, head, None)
        return first


def _head(schema_text: str) -> Any:
    """Return the schema of a state's first fields, up to its status: whatever follows is not read."""
    document = json.loads(schema_text)
    names = [field["name"] for field in document["fields"]]
    document["fields"] = document["fields"][: names.index(_LAST_FIELD) + 1]
    return parse_schema(json.dumps(document)).raw
