"""IO: the way from a process's sessions to the topic: encoding, a transport, and the one thread that keeps them."""

import atexit
import logging
import threading
import time
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from procurator.avro_schemas.codec import load_schema
from procurator.producers.errors import DeliveryFailed
from procurator.producers.transport import KafkaTransport, Transport
from procurator.producers.wire import Encoder

if TYPE_CHECKING:
    from procurator.producers.control import SharedControl
    from procurator.producers.session import Session

log = logging.getLogger(__name__)

_SERVE_S = 0.1
_SCHEMA = load_schema("session_event")
_open: "set[Link]" = set()


class Link:
    """Sends encoded events. One daemon thread handles confirmations and heartbeats for all sessions of the process."""

    def __init__(
        self,
        transport: Transport,
        schema_id: int,
        heartbeat_s: float,
        flush_s: float,
        control: "SharedControl | None" = None,
    ) -> None:
        """Without ``control``, sessions are told nothing."""
        self.transport = transport
        self._control = control
        self._flush_s = flush_s
        self._is_orphan = False
        self._encode = Encoder(_SCHEMA, schema_id).encode
        self._heartbeat_s = heartbeat_s
        self._lock = threading.Lock()
        # Weak, so that a session its agent has dropped falls silent rather than looking alive for ever.
        self._sessions: weakref.WeakSet[Session] = weakref.WeakSet()
        self._closing = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="procurator-keeper", daemon=True)
        _open.add(self)
        self._keeper.start()

    @classmethod
    def connect(
        cls,
        bootstrap_servers: str,
        schema_registry_url: str,
        queue_wait_s: float,
        heartbeat_s: float,
        flush_s: float,
        control: bool,
    ) -> "Link":
        """Return a link to a cluster. Raises Unavailable when Kafka or registry is away, UserError without setup."""
        from procurator.producers.control import SharedControl
        from procurator.registry import Registry

        registry = Registry(schema_registry_url)
        try:
            schema_id = registry.schema_id(_SCHEMA)
        finally:
            registry.close()
        transport = KafkaTransport(bootstrap_servers, queue_wait_s)
        transport.check()
        signals = SharedControl(bootstrap_servers, schema_registry_url) if control else None
        return cls(transport, schema_id, heartbeat_s, flush_s, signals)

    def send(self, key: bytes, event: Mapping[str, Any]) -> None:
        """Hand over one event (`procurator.events.SessionEvent`). Raises Backpressure when it was not taken."""
        self.transport.send(key, self._encode(event))

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

    def close(self, deadline_s: float) -> None:
        """Deliver what is queued, then let go. Raises DeliveryFailed saying what was not delivered."""
        try:
            self.transport.flush(deadline_s)
        finally:
            self._closing.set()
            if self._control is not None:
                self._control.close()
            self.transport.close()
            _open.discard(self)
            if threading.current_thread() is not self._keeper:
                self._keeper.join()

    def orphan(self) -> None:
        """Let the keeper deliver what is queued and close: nobody holds the Procurator any more.

        Does nothing itself, since the garbage collector may call it in the midst of anything.
        """
        self._is_orphan = True

    def finish(self) -> None:
        """Close; what was not delivered is logged, since there is nobody left to raise it to."""
        try:
            self.close(self._flush_s)
        except DeliveryFailed as failure:
            log.error("%s", failure)

    def _keep(self) -> None:
        pause_s = min(_SERVE_S, self._heartbeat_s / 4)
        look_at = 0.0
        while not self._closing.wait(pause_s):
            self.transport.serve()
            if self._is_orphan:
                self.finish()
                return
            if time.monotonic() >= look_at:
                self._beat()
                look_at = time.monotonic() + min(5.0, self._heartbeat_s / 4)

    def _beat(self) -> None:
        with self._lock:
            sessions = list(self._sessions)
        for session in sessions:
            try:
                session.heartbeat(self._heartbeat_s)
            # The thread serves every session: one that cannot speak must not silence the others.
            except Exception as error:  # noqa: BLE001
                log.warning("no heartbeat of session %s: %s", session.session_id, error)


@atexit.register
def _finish_all() -> None:
    for link in list(_open):
        link.finish()
