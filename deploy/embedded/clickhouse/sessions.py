"""HTTP sessions: engine connections that outlive a request (temporary tables, SET, USE), by user and session id.

A session serves one request at a time, and is closed when it has been idle for its timeout.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from procurator.deploy.embedded.clickhouse.engine import Connection
from procurator.deploy.embedded.clickhouse.wire import ClickHouseError

SESSIONS_MAX = 1000
SET_STATEMENTS_MAX = 1000


@dataclass
class Session:
    """One session and what restores it after a request with settings of its own."""

    connection: Connection
    database: str = "default"
    set_statements: list[bytes] = field(default_factory=list)
    busy: bool = False
    expires_s: float = 0.0
    timeout_s: int = 60

    def remember(self, statement: bytes) -> None:
        """Keep a SET of the client, to be said again after settings of single requests were taken back."""
        if len(self.set_statements) >= SET_STATEMENTS_MAX:
            raise ClickHouseError(290, "Too many SET statements in one session", "LIMIT_EXCEEDED")
        self.set_statements.append(statement)

    def restore(self, names: list[str]) -> None:
        """Undo the settings `names` of one request."""
        self.connection.reset(names)
        if names:
            for statement in self.set_statements:
                self.connection.run(statement)


class Sessions:
    """All sessions. Called from the event loop only, so it needs no lock; `connect` must be quick."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._sessions: dict[tuple[str, str], Session] = {}

    def acquire(self, user: str, session_id: str, timeout_s: int, *, must_exist: bool) -> Session:
        """The session, marked busy.

        Raises:
            ClickHouseError: 372 if it must exist and does not, 373 if another request uses it.
        """
        self.expire(time.monotonic())
        session = self._sessions.get((user, session_id))
        if session is None:
            if must_exist:
                raise ClickHouseError(372, f"Session {session_id} not found", "SESSION_NOT_FOUND")
            if len(self._sessions) >= SESSIONS_MAX:
                raise ClickHouseError(290, f"More than {SESSIONS_MAX} sessions", "LIMIT_EXCEEDED")
            session = self._sessions[user, session_id] = Session(self._connect())
        elif session.busy:
            text = f"Session {session_id} is locked by a concurrent client"
            raise ClickHouseError(373, text, "SESSION_IS_LOCKED")
        session.busy, session.timeout_s = True, timeout_s
        return session

    def release(self, session: Session) -> None:
        """Let the next request have it."""
        session.busy = False
        session.expires_s = time.monotonic() + session.timeout_s

    def close(self, user: str, session_id: str) -> None:
        """End a session now (`close_session=1`)."""
        session = self._sessions.pop((user, session_id), None)
        if session is not None:
            session.connection.close()

    def expire(self, now_s: float) -> None:
        """Close what has been idle for too long."""
        for key, session in list(self._sessions.items()):
            if not session.busy and session.expires_s < now_s:
                del self._sessions[key]
                session.connection.close()

    def close_all(self) -> None:
        """End all sessions."""
        for session in self._sessions.values():
            session.connection.close()
        self._sessions.clear()
