"""The list of sessions as a stream: each session's state when it is published anew, if it is one that was asked for."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson

from procurator.access import Scope
from procurator.query_api.live.follow import Offsets, Position, catch_up
from procurator.query_api.live.hub import Hub
from procurator.query_api.live.past import ListPast
from procurator.query_api.live.records import STATE, LiveRecord
from procurator.query_api.live.resume import Seal
from procurator.query_api.live.sse import frame
from procurator.query_api.live.views import Views, now
from procurator.query_api.queries.base import Row
from procurator.query_api.search import SessionFilter

#: Sessions that are known to be gone, the latest: of others it is said again when they change.
GONE_MAX = 10_000


def stream_name(asked: SessionFilter) -> str:
    """Return what the ids of a list's stream are bound to."""
    return f"list {asked.digest()}"


class ListStream:
    """One listener of the list. ``position`` None begins with the ``backfill`` newest sessions and what comes next."""

    def __init__(
        self,
        hub: Hub,
        past: ListPast,
        views: Views,
        seal: Seal,
        scope: Scope,
        asked: SessionFilter,
        position: Position | None,
        backfill: int = 0,
    ) -> None:
        self._hub = hub
        self._past = past
        self._views = views
        self._seal = seal
        self._scope = scope
        self._asked = asked
        self._name = stream_name(asked)
        self._position = position or {}
        self._is_new = position is None
        self._backfill = backfill
        #: Log and offset of the states of the backfill, by session: they are not told again.
        self._had: dict[str, tuple[str, int]] = {}
        #: Sessions that the client knows not to match, the latest last. Of any other it may hold that they do, from
        #: the list that it loaded or from before it connected again, wherever that was.
        self._gone: dict[str, None] = {}

    async def frames(self) -> AsyncIterator[bytes]:
        """Yield Server-Sent Events without end. Raises Dropped, and Unavailable."""
        with self._hub.listening_to_list(self._scope) as listener:
            if self._is_new:
                while (starts := self._hub.start(STATE)) is None:
                    await listener.wait()
                    listener.check()
                if self._backfill:
                    yield await self._newest(starts)
                    self._is_new = False
                else:
                    self._position.update(self._hub.places(STATE))
            while True:
                is_caught_up = self._is_new
                self._is_new = False
                if not is_caught_up:
                    async for page in catch_up(self._past, self._starts, self._position):
                        listener.check()
                        yield b"".join(map(self._from_table, page))
                listener.join(self._recent())
                yield frame("ready", b"{}", self._id())
                while listener.is_live:
                    await listener.wait()
                    yield b"".join(map(self._from_kafka, _latest(listener.take())))

    async def _newest(self, starts: Offsets) -> bytes:
        """Return the newest sessions, and go on from where the table was before they were read.

        They have no id: who is cut off among them begins again.
        """
        heads = await self._past.heads(starts)
        self._position.update({log_id: heads.get(log_id, 0) - 1 for log_id in starts})
        rows = await self._past.newest(self._asked, self._backfill)
        self._had = {row["session_id"]: (row["state_log_id"], row["state_offset"]) for row in rows}
        return b"".join(frame(STATE, self._views.session(row)) for row in rows)

    def _starts(self) -> Offsets | None:
        return self._hub.start(STATE)

    def _recent(self) -> list[LiveRecord]:
        found = []
        for record in self._hub.recent_states(self._position):
            shown = self._hub.shown(record)
            if shown is not None and self._scope.contains(shown.org_id, shown.owner_team_id):
                found.append(record)
        return found

    def _from_table(self, row: Row) -> bytes:
        log_id, offset = row["state_log_id"], row["state_offset"]
        self._position[log_id] = offset
        if self._was_had(row["session_id"], log_id, offset):
            return b""
        state = self._views.state_record(row["state"])
        return self._frame(row["session_id"], state, lambda: self._views.session(row))

    def _from_kafka(self, record: LiveRecord) -> bytes:
        if record.offset <= self._position.get(record.log_id, -1):
            return b""
        self._position[record.log_id] = record.offset
        shown = self._hub.shown(record)
        if shown is None or self._was_had(record.session_id, record.log_id, record.offset):
            return b""
        return self._frame(record.session_id, shown.record, lambda: shown.data)

    def _was_had(self, session_id: str, log_id: str, offset: int) -> bool:
        had = self._had.get(session_id)
        return had is not None and had[0] == log_id and offset <= had[1]

    def _frame(self, session_id: str, state: dict[str, Any], item: Callable[[], bytes]) -> bytes:
        """Return what there is to say of a session: its item, or once that it is gone, if it can have been there."""
        at = now()
        if self._asked.matches(state, at):
            self._gone.pop(session_id, None)
            return frame(STATE, item(), self._id())
        if session_id in self._gone or not self._asked.may_have_matched(state, at):
            return b""
        self._gone[session_id] = None
        if len(self._gone) > GONE_MAX:
            del self._gone[next(iter(self._gone))]
        return frame("gone", orjson.dumps({"session_id": session_id}), self._id())

    def _id(self) -> str:
        return self._seal.close(self._name, self._position)


def _latest(records: list[LiveRecord]) -> list[LiveRecord]:
    """Return the last record of each session, in the order in which these came."""
    last = {record.session_id: record for record in records}
    return [record for record in records if last[record.session_id] is record]
