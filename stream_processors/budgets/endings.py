"""Sessions that must end: signals given to them, the grace of their runtimes, timeouts, children. Pure.

Level-triggered: what a session must be told follows from what is known now, so a worker that starts anew finds it
again, with the same ids. Time is the partition's (see `Endings.due`): a worker that lags must not take an ending that
it has not read yet for one that was not given.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

from procurator import signals
from procurator.stream_processors.budgets.sessions import OpenSession, OpenSessions

Signal = dict[str, Any]
#: Sessions whose signals are remembered after they ended or before they began.
_REMEMBERED_MAX = 200_000
_SAID_AGAIN_AFTER_US = 30_000_000


@dataclass(slots=True)
class _Given:
    """What a session was told: ids of its signals, and the first that terminates it."""

    ids: set[str] = field(default_factory=set)
    terminate: Signal | None = None


class Endings:
    """Signals of all sessions as far as remembered; deadlines of the open ones."""

    def __init__(self, sessions: OpenSessions) -> None:
        self._sessions = sessions
        self._given: dict[str, _Given] = {}
        #: (when, session id): the end of a grace or of a timeout.
        self._deadlines: list[tuple[int, str]] = []

    def is_terminating(self, session_id: str) -> bool:
        given = self._given.get(session_id)
        return given is not None and given.terminate is not None

    def note(self, signal: Signal) -> bool:
        """Note a signal that was found on the control topic, or is about to be put there; return whether it is new."""
        session_id = signal["session_id"]
        given = self._given.get(session_id)
        if given is None:
            self._forget_some()
            given = self._given[session_id] = _Given()
        if signal["signal_id"] in given.ids:
            return False
        given.ids.add(signal["signal_id"])
        if signal["kind"] == signals.TERMINATE and given.terminate is None:
            given.terminate = signal
            self._await_end(session_id, signal)
        return True

    def opened(self, session: OpenSession) -> None:
        """A session is open, or more is known of it."""
        if session.deadline_us is not None:
            heappush(self._deadlines, (session.deadline_us, session.session_id))
        given = self._given.get(session.session_id)
        if given is not None and given.terminate is not None:
            self._await_end(session.session_id, given.terminate)

    def to_children(self, signal: Signal, now_us: int) -> Iterator[Signal]:
        """Yield the signals to the open children of a session that is terminated."""
        if signal["kind"] == signals.TERMINATE:
            for child in self._sessions.children_of(signal["session_id"]):
                yield signals.terminate_child(signal, child.session_id, child.owner.org_id, now_us)

    def from_parent(self, child: OpenSession, now_us: int) -> Signal | None:
        """Return the signal to a session whose parent had been terminated before it began."""
        given = self._given.get(child.parent_session_id or "")
        if given is None or given.terminate is None:
            return None
        return signals.terminate_child(given.terminate, child.session_id, child.owner.org_id, now_us)

    def due(self, time_of: Callable[[int], int], now_us: int) -> Iterator[tuple[OpenSession, Signal, bool]]:
        """Yield what is due: (session, TERMINATE, False) beyond its timeout; (…, True) beyond its grace.

        ``time_of(partition)`` is the time up to which that partition's records have been folded.
        """
        waiting = []
        while self._deadlines and self._deadlines[0][0] <= now_us:
            due_us, session_id = heappop(self._deadlines)
            session = self._sessions.get(session_id)
            if session is None:
                continue
            if time_of(session.partition) < due_us:
                waiting.append((due_us, session_id))
                continue
            signal = self._given[session_id].terminate if self.is_terminating(session_id) else None
            if signal is None:
                if session.deadline_us is not None and session.timeout_s is not None and session.deadline_us <= due_us:
                    yield (
                        session,
                        signals.terminate_late(session_id, session.owner.org_id, session.timeout_s, now_us),
                        False,
                    )
            elif _end_of_grace(signal) <= due_us:
                yield session, signal, True
                # Should it be lost for good, it is said again: repeated, so it counts nowhere.
                waiting.append((now_us + _SAID_AGAIN_AFTER_US, session_id))
        for deadline in waiting:
            heappush(self._deadlines, deadline)

    def _await_end(self, session_id: str, signal: Signal) -> None:
        if self._sessions.get(session_id) is not None:
            heappush(self._deadlines, (_end_of_grace(signal), session_id))

    def _forget_some(self) -> None:
        if len(self._given) >= _REMEMBERED_MAX:
            for session_id in list(self._given)[: _REMEMBERED_MAX // 10]:
                if self._sessions.get(session_id) is None:
                    del self._given[session_id]


def _end_of_grace(signal: Signal) -> int:
    end_us: int = signal["requested_at"] + signal["grace_s"] * 1_000_000
    return end_us
