"""One session as a stream: its entries from the ledger, then its events, states and pieces of turns as they come."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID

import orjson

from procurator.access import Scope
from procurator.partitioner import partition_of
from procurator.query_api.live.follow import Offsets, Position, catch_up
from procurator.query_api.live.hub import Hub
from procurator.query_api.live.past import SessionPast
from procurator.query_api.live.records import DELTA, EVENT, STATE, LiveRecord
from procurator.query_api.live.resume import Seal
from procurator.query_api.live.sse import frame
from procurator.query_api.live.views import Views
from procurator.query_api.queries.base import Row
from procurator.transitions import TERMINAL

#: The state of a session that ended follows its last event at once, unless the stream processors are away or busy:
#: then the ledger is asked, again and again until it has the end.
_LAST_STATE_S = 2.0
#: Stands, as if it were a log, in the id of `end`: who has that one has been told everything.
ENDED = "ended:"


def stream_name(session_id: UUID) -> str:
    """Return what the ids of a session's stream are bound to."""
    return f"session {session_id}"


class SessionStream:
    """One listener of one session. ``state`` is the session as it stands, ``current`` reads how it stands later."""

    def __init__(
        self,
        hub: Hub,
        past: SessionPast,
        views: Views,
        seal: Seal,
        scope: Scope,
        position: Position,
        state: Row,
        current: Callable[[], Awaitable[Row | None]],
    ) -> None:
        self._hub = hub
        self._past = past
        self._views = views
        self._seal = seal
        self._scope = scope
        self._position = position
        self._session_id: str = state["session_id"]
        self._name = stream_name(UUID(self._session_id))
        self._current = current
        self._turns: int = state["turns"]
        #: Log and offset of the last record, once the session is over.
        self._last: tuple[str, int] | None = None
        self._state: Row = {}
        self._take_state(state)

    async def frames(self) -> AsyncIterator[bytes]:
        """Yield Server-Sent Events until the session is over. Raises Dropped, and Unavailable."""
        yield frame(STATE, self._views.session(self._state))
        with self._hub.listening(self._session_id) as listener:
            while True:
                async for page in catch_up(self._past, self._starts, self._position):
                    listener.check()
                    yield b"".join(map(self._from_ledger, page))
                    if not page and self._is_over:
                        yield self._end()
                        return
                listener.join(self._recent())
                read_to = self._hub.places(EVENT)
                while listener.is_live:
                    heard = await listener.wait(_LAST_STATE_S if self._has_ended else None)
                    shown = b"".join(map(self._from_kafka, listener.take()))
                    if listener.is_live:  # else what it joined with may have been forgotten, and not taken
                        self._pass_by(read_to)
                    yield shown
                    if self._has_ended and not heard:
                        yield await self._from_fold()
                    if self._is_over:
                        yield self._end()
                        return

    def _home(self) -> str | None:
        """Return the log that the session is written to; None while nothing is read."""
        partitions = self._hub.partitions
        return None if partitions is None else self._hub.log_id(EVENT, partition_of(self._session_id, partitions))

    def _starts(self) -> Offsets | None:
        """Return where the ring begins in that log."""
        log_id, starts = self._home(), self._hub.start(EVENT)
        return None if log_id is None or starts is None else {log_id: starts[log_id]}

    def _recent(self) -> list[LiveRecord]:
        """What the ring holds that this listener has not had; pieces of turns last, since turns end them."""
        return [record for kind in (EVENT, STATE, DELTA) for record in self._hub.recent(kind, self._session_id)]

    def _from_ledger(self, row: Row) -> bytes:
        self._position[row["log_id"]] = row["offset"]
        if not row["flags"]:
            self._note(row["kind"], row["turn_index"], row["log_id"], row["offset"])
        return frame(EVENT, self._views.entry(row), self._seal.close(self._name, self._position))

    def _from_kafka(self, record: LiveRecord) -> bytes:
        if record.kind == EVENT:
            return self._event(record)
        shown = self._hub.shown(record)
        if shown is None or not self._scope.contains(shown.org_id, shown.owner_team_id):
            return b""
        if record.kind == DELTA:
            is_written = shown.turn_index is not None and shown.turn_index < self._turns
            return b"" if is_written else frame(DELTA, shown.data)
        if not self._is_newer(shown.record):
            return b""
        self._take_state({name: shown.record[name] for name in ("status", "log_id", "as_of_offset")})
        return frame(STATE, shown.data)

    async def _from_fold(self) -> bytes:
        """Return the session as the ledger's events make it. Raises Unavailable."""
        state = await self._current()
        if state is None or not self._is_newer(state):
            return b""
        self._take_state(state)
        return frame(STATE, self._views.session(state))

    def _event(self, record: LiveRecord) -> bytes:
        if record.offset <= self._position.get(record.log_id, -1):
            return b""
        self._position[record.log_id] = record.offset
        shown = self._hub.shown(record)
        if shown is None or not self._scope.contains(shown.org_id, shown.owner_team_id):
            return b""
        self._note(shown.kind, shown.turn_index, record.log_id, record.offset)
        if len(self._position) > 1:  # the session stands in logs of two topics: this listener's id is its own
            return frame(EVENT, shown.data, self._seal.close(self._name, self._position))
        if record.frame is None:
            record.frame = frame(EVENT, shown.data, self._seal.close(self._name, self._position))
        return record.frame

    def _pass_by(self, read_to: Offsets) -> None:
        """Note that everything up to here was seen when the listener joined, be it in scope or not."""
        if (log := self._home()) is not None and log in read_to:
            self._position[log] = max(self._position.get(log, -1), read_to[log])

    def _note(self, kind: str, turn_index: int | None, log_id: str, offset: int) -> None:
        if kind == "TurnRecorded" and turn_index is not None:
            self._turns = max(self._turns, turn_index + 1)
        elif kind == "SessionEnded" and self._is_newer({"log_id": log_id, "as_of_offset": offset}):
            self._last = log_id, offset

    def _take_state(self, state: Row) -> None:
        """Note how the session stands, and whether it is over: whoever resumes after its end has no event to tell."""
        self._state = {**self._state, **state}
        log_id, as_of_offset = state["log_id"], state["as_of_offset"]
        if state["status"] in TERMINAL:
            self._last = self._last or (log_id, as_of_offset)
        elif self._last is not None and log_id == self._last[0] and as_of_offset >= self._last[1]:
            self._last = None  # what looked like its end repeats an earlier event, and counts for nothing

    def _is_newer(self, state: dict[str, Any]) -> bool:
        known = self._state
        return bool(state["log_id"] != known["log_id"] or state["as_of_offset"] > known["as_of_offset"])

    @property
    def _has_ended(self) -> bool:
        """Every record up to the session's end was sent."""
        return self._last is not None and self._position.get(self._last[0], -1) >= self._last[1]

    @property
    def _is_over(self) -> bool:
        """And so was the state that knows of it."""
        return self._has_ended and self._state["status"] in TERMINAL

    def _end(self) -> bytes:
        data = {"session_id": self._session_id, "status": self._state["status"]}
        return frame("end", orjson.dumps(data), self._seal.close(self._name, {**self._position, ENDED: 0}))
