"""Which session of this process a signal is for. Threads share it; it does no IO.

Signals of sessions that do not live here are remembered for a while, since one of them may start here: its process
was restarted, or its id was drawn, and the session stopped, before it started.
"""

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from procurator import signals
from procurator.producers.orders import Signal

if TYPE_CHECKING:
    from procurator.producers.session import Session

#: Sessions elsewhere whose signals are remembered, and how many each: 20,000 records of some 400 bytes.
SESSIONS_MAX = 5_000
SIGNALS_MAX = 4

Record = dict[str, Any]


class Dispatch:
    """Tells sessions what they were signalled. ``decode`` gives the raw record of signal.avsc in a value."""

    def __init__(self, decode: Callable[[bytes], Record]) -> None:
        self._decode = decode
        self._lock = threading.Lock()
        # Weak, so that a session its agent has dropped is not kept.
        self._live: weakref.WeakValueDictionary[str, Session] = weakref.WeakValueDictionary()
        self._remembered: OrderedDict[str, list[bytes]] = OrderedDict()

    def opened(self, session: "Session") -> None:
        """A session lives here: tell it what was signalled before."""
        with self._lock:
            self._live[session.session_id] = session
            earlier = self._remembered.pop(session.session_id, ())
        for value in earlier:
            self._tell(session, self._decode(value))

    def closed(self, session: "Session") -> None:
        """A session is over."""
        with self._lock:
            if self._live.get(session.session_id) is session:
                del self._live[session.session_id]

    def live(self) -> "list[Session]":
        """Return the sessions that live here."""
        with self._lock:
            return list(self._live.values())

    def take(self, value: bytes) -> None:
        """Take one record of the control topic. Raises what ``decode`` raises, having done nothing."""
        record = self._decode(value)
        with self._lock:
            session = self._live.get(record["session_id"])
            if session is None:
                self._remember(record["session_id"], value)
        if session is not None:
            self._tell(session, record)

    def _remember(self, session_id: str, value: bytes) -> None:
        values = self._remembered.setdefault(session_id, [])
        self._remembered.move_to_end(session_id)
        if value not in values:
            values.append(value)
            del values[:-SIGNALS_MAX]
        if len(self._remembered) > SESSIONS_MAX:
            self._remembered.popitem(last=False)

    def _tell(self, session: "Session", record: Record) -> None:
        """Tell a session, and with a TERMINATE those that it started here, before any of them acts.

        Its children would follow anyway, once a stream processor has told them; with the same signals as here.
        """
        told = [(each, signal) for each, signal in self._told(session, record) if each.tell(signal)]
        for each, signal in told:
            each.act(signal)

    def _told(self, session: "Session", record: Record) -> "list[tuple[Session, Signal]]":
        found = [(session, Signal.from_record(record))]
        if record["kind"] == signals.TERMINATE:
            for child in self.live():
                if child.parent_session_id == session.session_id:
                    passed_on = signals.terminate_child(
                        record, child.session_id, record["org_id"], record["requested_at"]
                    )
                    found += self._told(child, passed_on)
        return found
