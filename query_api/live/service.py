"""Live streams of one API process: the hub, the feed that fills it, and the streams that are made from both."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from uuid import UUID

from procurator.access import Scope
from procurator.config import Settings
from procurator.query_api.current import CurrentSessions
from procurator.query_api.live import list_stream, session_stream
from procurator.query_api.live.feed import Feed
from procurator.query_api.live.follow import Offsets
from procurator.query_api.live.hub import Hub
from procurator.query_api.live.list_stream import ListStream
from procurator.query_api.live.past import ListPast, SessionPast, table_heads
from procurator.query_api.live.resume import Seal
from procurator.query_api.live.session_stream import SessionStream
from procurator.query_api.live.views import Views
from procurator.query_api.queries.base import Row
from procurator.query_api.search import SessionFilter
from procurator.query_api.store import Store
from procurator.registry import Registry

#: The feed goes on so long after the last listener, for those who connect again.
LINGER_S = 60.0


class Live:
    """Makes streams. Nothing is read from Kafka until the first of them."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        registry: Registry,
        sessions: CurrentSessions,
        item: Callable[[Row], Row],
        on_slow: Callable[[], object] = lambda: None,
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._views = Views(registry, item)
        self.hub = Hub(self._views.show, on_slow=on_slow)
        #: Where the table of sessions has been seen to be: the feed notes where it opens, streams where they look.
        self._reached: Offsets = {}
        heads = partial(table_heads, store, self._reached)
        self._feed = Feed(settings.kafka_bootstrap_servers, self._views, self.hub, heads)
        self._seal = Seal(settings.admin_key.get_secret_value())
        self._streams = 0
        self._ending: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def session(self, scope: Scope, session_id: UUID, last_id: str | None) -> "Opened | None":
        """Return the stream of a session after ``last_id``, or None when there is no such session in scope.

        Raises BadResumeId, and Unavailable while ClickHouse does not answer.
        """
        position = {} if last_id is None else self._seal.open(session_stream.stream_name(session_id), last_id)
        was_ended = position.pop(session_stream.ENDED, None) is not None
        state = await self._sessions.read(scope, session_id)
        if state is None:
            return None
        past = SessionPast(self._store, scope, session_id)
        is_over = False
        if was_ended:
            page, _ = await past.page(position)
            is_over = not page and position.get(state["log_id"], -1) >= state["as_of_offset"]
        current = partial(self._sessions.read, scope, session_id)
        stream = SessionStream(self.hub, past, self._views, self._seal, scope, position, state, current)
        return Opened(state, is_over, self._counted(stream.frames()))

    def resume_id(self, session_id: UUID, log_id: str, offset: int) -> str:
        """Return the id that a session's stream goes on after, for who has read all up to an offset elsewhere."""
        return self._seal.close(session_stream.stream_name(session_id), {log_id: offset})

    def sessions(self, scope: Scope, asked: SessionFilter, last_id: str | None, backfill: int) -> AsyncIterator[bytes]:
        """Return the stream of the list after ``last_id``, or of its newest sessions first. Raises BadResumeId."""
        position = None if last_id is None else self._seal.open(list_stream.stream_name(asked), last_id)
        past = ListPast(self._store, scope, self._reached)
        stream = ListStream(self.hub, past, self._views, self._seal, scope, asked, position, backfill)
        return self._counted(stream.frames())

    def end_streams(self) -> None:
        """Ask every stream to end: the process stops, and whoever listens goes on elsewhere."""
        self.hub.stop("restarting", "this server stops; connect again to go on")

    async def close(self) -> None:
        """Stop reading."""
        if self._ending is not None:
            self._ending.cancel()
        await self._feed.stop()

    async def _counted(self, frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Let the feed run while anybody listens."""
        self._streams += 1
        if self._ending is not None:
            self._ending.cancel()
        self._feed.start()
        try:
            async for piece in frames:
                yield piece
        finally:
            self._streams -= 1
            if not self._streams:
                self._ending = asyncio.get_running_loop().call_later(LINGER_S, self._stop_feed)

    def _stop_feed(self) -> None:
        task = asyncio.ensure_future(self._feed.stop())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Opened:
    """A session's stream before its first byte: the session as it stands, and whether there is nothing left to say."""

    def __init__(self, state: Row, is_over: bool, frames: AsyncIterator[bytes]) -> None:
        self.state = state
        self.is_over = is_over
        self.frames = frames
