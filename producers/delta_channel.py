"""IO: pieces of turns on their way to the deltas topic, best effort: one thread, while any turn is being written."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from procurator.avro_schemas.codec import load_schema
from procurator.avro_schemas.encoder import Encoder
from procurator.errors import ProcuratorError
from procurator.producers.late import import_clients
from procurator.producers.streamed_turn import StreamedTurn
from procurator.topics import SESSION_DELTAS

log = logging.getLogger(__name__)

#: So often what was written since is sent: a turn makes at most 20 records a second.
EVERY_S = 0.05
_RETRY_S = 5.0
_FLUSH_S = 0.5
#: Far below what any reader would wait for: pieces that are older help nobody.
_OPTIONS = {
    "acks": "1",
    "enable.idempotence": False,
    "queue.buffering.max.messages": 10_000,
    "message.timeout.ms": 3_000,
}

#: Takes key and record of a piece; raises what it likes when it cannot.
Send = Callable[[bytes, dict[str, Any]], None]


def connect(bootstrap_servers: str, schema_registry_url: str) -> Send:
    """Return what sends to a cluster. Raises Unavailable or UserError when Kafka or registry is not there."""
    import_clients()
    from confluent_kafka import Producer

    from procurator.kafka import producer_config
    from procurator.registry import Registry

    schema = load_schema(SESSION_DELTAS.schema)
    registry = Registry(schema_registry_url)
    try:
        encode = Encoder(schema, registry.schema_id(schema)).encode
    finally:
        registry.close()
    producer = Producer(producer_config(bootstrap_servers, **_OPTIONS))

    def send(key: bytes, record: dict[str, Any]) -> None:
        producer.produce(SESSION_DELTAS.name, encode(record), key)
        producer.poll(0)

    return send


class DeltaChannel:
    """Sends what open turns have written since. Nothing here raises, waits for Kafka or keeps a process alive."""

    def __init__(self, connect: Callable[[], Send], clock: Callable[[], int]) -> None:
        self._connect = connect
        self._clock = clock
        self._lock = threading.Lock()
        self._turns: dict[StreamedTurn, Mapping[str, str]] = {}
        self._send: Send | None = None
        self._retry_at_s = 0.0
        self._thread: threading.Thread | None = None

    def of_session(self, **identity: str) -> "SessionDeltas":
        """Return the channel of one session; ``identity`` are a piece's fields that say whose session it is."""
        return SessionDeltas(self, identity)

    def open(self, turn: StreamedTurn, identity: Mapping[str, str]) -> None:
        """Take a turn's pieces from now on."""
        with self._lock:
            self._turns[turn] = identity
            if self._thread is not None and not self._thread.is_alive():  # a forked child has the parent's, dead
                self._send = self._thread = None
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="procurator-deltas", daemon=True)
                self._thread.start()

    def close(self, turn: StreamedTurn) -> None:
        """Take them no longer: the turn is recorded whole now."""
        with self._lock:
            self._turns.pop(turn, None)

    def _run(self) -> None:
        while True:
            time.sleep(EVERY_S)
            with self._lock:
                turns = list(self._turns.items())
                if not turns:
                    self._thread = None
                    return
            for turn, identity in turns:
                for piece in turn.unsent():
                    self._try({**identity, **piece, "occurred_at": self._clock()})

    def _try(self, record: dict[str, Any]) -> None:
        if self._send is None and time.monotonic() < self._retry_at_s:
            return
        try:
            if self._send is None:
                self._send = self._connect()
            self._send(record["session_id"].encode(), record)
        except BufferError:
            pass  # Kafka is slow: the piece is not shown, the turn comes whole all the same.
        except ProcuratorError as error:
            self._retry_at_s = time.monotonic() + _RETRY_S
            log.warning("turns are not shown while they are written: %s", error)


class SessionDeltas:
    """The turns of one session."""

    def __init__(self, channel: DeltaChannel, identity: Mapping[str, str]) -> None:
        self._channel = channel
        self._identity = identity

    def open(self, turn: StreamedTurn) -> None:
        """Take the turn's pieces from now on."""
        self._channel.open(turn, self._identity)

    def close(self, turn: StreamedTurn) -> None:
        """Take them no longer."""
        self._channel.close(turn)
