"""IO: the way from a process's sessions to their transport: encoding, and the one thread that keeps them."""

import logging
import os
import threading
import time
import weakref
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from procurator.avro_schemas.codec import load_schema
from procurator.avro_schemas.encoder import Encoder
from procurator.producers import exits
from procurator.producers.errors import DeliveryFailed, FailedEvent
from procurator.producers.transport import Transport
from procurator.topics import SESSION_EVENTS

if TYPE_CHECKING:
    from procurator.producers.control import SharedControl
    from procurator.producers.session import Session

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 5.0
_AGAIN_S = 1.0
_open: "set[Link]" = set()


@cache
def _encoder() -> Encoder:
    """Return what writes whole events: few processes publish any, so it is made for the first one."""
    return Encoder(load_schema(SESSION_EVENTS.schema))


class Link:
    """Sends encoded events. One daemon thread handles delivery, heartbeats and gaps for all sessions of the process."""

    def __init__(
        self, transport: Transport, heartbeat_s: float, flush_s: float, control: "SharedControl | None" = None
    ) -> None:
        """Without ``control``, sessions are told nothing."""
        self.transport = transport
        self._control = control
        self._flush_s = flush_s
        self._is_orphan = False
        self._heartbeat_s = heartbeat_s
        self._look_at_s = 0.0
        self._lock = threading.Lock()
        # Weak, so that a session its agent has dropped falls silent rather than looking alive for ever.
        self._sessions: weakref.WeakSet[Session] = weakref.WeakSet()
        self._gapped: set[Session] = set()
        self._closing = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="procurator-keeper", daemon=True)
        _open.add(self)
        exits.install(_finish_all)
        self._keeper.start()

    def send(self, key: bytes, event: Mapping[str, Any]) -> None:
        """Hand over one event (`procurator.events.SessionEvent`). Raises Backpressure when it was not taken."""
        self.transport.send(key, _encoder().encode(event))

    def opened(self, session: "Session", controlled: bool) -> None:
        """Let a session be heard of while it is silent and, if ``controlled``, hear signals."""
        with self._lock:
            self._sessions.add(session)
        if controlled and self._control is not None:
            self._control.opened(session)

    def closed(self, session: "Session") -> None:
        """A session is over."""
        with self._lock:
            self._sessions.discard(session)
        if self._control is not None:
            self._control.closed(session)

    def lost(self, session: "Session") -> None:
        """A session has a gap to tell, also when it is over and nobody holds it any more."""
        self._gapped.add(session)

    def refused(self, event: FailedEvent) -> None:
        """Kafka will never take an event: its session, if it still lives here, tells of the gap."""
        with self._lock:
            sessions = [session for session in self._sessions if session.session_id == event.session_id]
        for session in sessions:
            session.lost(event.sequence, f"refused by Kafka: {event.reason}")

    def flush(self, deadline_s: float, patient: bool = True) -> int:
        """Do as `Transport.flush`, and tell of gaps as soon as there is room for that."""
        on_disk = self.transport.flush(deadline_s, patient)
        if self._gapped:
            self._tell_gaps()
            on_disk = self.transport.flush(deadline_s, patient)
        return on_disk

    def close(self, deadline_s: float, patient: bool = True) -> int:
        """Deliver what is queued, then let go; as `flush` otherwise."""
        try:
            return self.flush(deadline_s, patient)
        finally:
            self._closing.set()
            self.transport.woken.set()
            if self._control is not None:
                self._control.close()
            if threading.current_thread() is not self._keeper:
                self._keeper.join()
            self.transport.close()
            _open.discard(self)

    def orphan(self) -> None:
        """Let the keeper deliver what is queued and close: nobody holds the Procurator any more.

        Does nothing itself, since the garbage collector may call it in the midst of anything.
        """
        self._is_orphan = True

    def finish(self) -> None:
        """Close; what was not delivered is logged, since there is nobody left to raise it to."""
        try:
            if on_disk := self.close(self._flush_s, patient=False):
                log.warning("%d events are on disk; the next process that connects to this cluster sends them", on_disk)
        except DeliveryFailed as failure:
            log.error("%s", failure)

    def forget(self) -> None:
        """Let go in a forked child: the parent has the thread, and delivers."""
        _open.discard(self)
        self.transport.forget()
        exits.pin(self)

    def _keep(self) -> None:
        while not self._closing.is_set():
            pause_s = min(self._serve(), self._heartbeat_s / 4)
            if self._is_orphan:
                self._finish_here()
                return
            if time.monotonic() >= self._look_at_s:
                self._look_at_s = time.monotonic() + min(_LOOK_EVERY_S, self._heartbeat_s / 4)
                self._beat()
            if self._gapped:
                self._tell_gaps()
            self.transport.woken.wait(pause_s)
            self.transport.woken.clear()

    def _finish_here(self) -> None:
        """Finish in the keeper's own thread, with another one in its place."""
        closer = threading.Thread(target=self.finish, name="procurator-closer", daemon=True)
        closer.start()
        while not self._closing.is_set():
            self.transport.woken.wait(self._serve())
            self.transport.woken.clear()

    def _serve(self) -> float:
        try:
            return self.transport.serve()
        # Without this thread nothing would be delivered any more: whatever it is, it is worth another try.
        except Exception:
            log.exception("delivery failed; it is tried again")
            return _AGAIN_S

    def _beat(self) -> None:
        with self._lock:
            sessions = list(self._sessions)
        for session in sessions:
            try:
                session.heartbeat(self._heartbeat_s)
            # The thread serves every session: one that cannot speak must not silence the others.
            except Exception as error:  # noqa: BLE001
                log.warning("no heartbeat of session %s: %s", session.session_id, error)

    def _tell_gaps(self) -> None:
        for session in list(self._gapped):
            if session.tell_gap():
                self._gapped.discard(session)


def _finish_all() -> None:
    for link in list(_open):
        link.finish()


def _after_fork() -> None:
    """Forget the parent's links in a forked child; no Procurator holds those any more that were finishing."""
    for link in list(_open):
        link.forget()


os.register_at_fork(after_in_child=_after_fork)
