"""What the feed has read, handed to whoever listens. For one event loop: nothing here is called from another thread."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from procurator.access import Scope
from procurator.query_api.live.listeners import LISTENER_POLICY, Listener, ListenerPolicy
from procurator.query_api.live.records import DELTA, EVENT, STATE, LiveRecord, Shown
from procurator.query_api.live.ring import Ring

#: The latest records of each topic that a process keeps.
RING_BYTES_MAX = {EVENT: 32 * 1024 * 1024, STATE: 16 * 1024 * 1024, DELTA: 8 * 1024 * 1024}


@dataclass
class _Partitions:
    """One topic as it is read now."""

    ring: Ring
    #: Log of each partition.
    log_ids: Mapping[int, str]
    #: Last offset read of each log.
    places: dict[str, int] = field(default_factory=dict)


class Hub:
    """Rings and listeners. ``show`` decodes a record, None when it is none; called once for each that is heard.

    ``on_slow`` is told of each listener that was dropped for not keeping up.
    """

    def __init__(
        self,
        show: Callable[[LiveRecord], Shown | None],
        policy: ListenerPolicy = LISTENER_POLICY,
        ring_bytes_max: Mapping[str, int] = RING_BYTES_MAX,
        on_slow: Callable[[], object] = lambda: None,
    ) -> None:
        self._show = show
        self._policy = policy
        self._ring_bytes_max = ring_bytes_max
        self._on_slow = on_slow
        self._topics: dict[str, _Partitions] = {}
        self._of_session: dict[str, set[Listener]] = {}
        self._of_scope: dict[Scope, set[Listener]] = {}

    # --- what the feed says

    def begin(self, starts: Mapping[str, Mapping[int, tuple[str, int]]]) -> None:
        """The feed reads from here on: kind → partition → (log id, first offset). Listeners go back to the ledger."""
        self._topics = {
            kind: _Partitions(
                Ring(self._ring_bytes_max[kind], dict(partitions.values())),
                {partition: log_id for partition, (log_id, _) in partitions.items()},
                {log_id: start - 1 for log_id, start in partitions.values()},
            )
            for kind, partitions in starts.items()
        }
        for listener in self._everybody():
            listener.leave()

    def take(self, records: Iterable[LiveRecord]) -> None:
        """Keep records and hand each to those who listen for it."""
        for record in records:
            topic = self._topics[record.kind]
            topic.places[record.log_id] = record.offset
            if record.kind == STATE and self._of_scope:
                self._tell_lists(record)
            topic.ring.add(record)
            self._offer(self._of_session.get(record.session_id, ()), record)

    def stop(self, reason: str, message: str) -> None:
        """End every stream."""
        for listener in self._everybody():
            listener.drop(reason, message)

    # --- what streams ask

    @property
    def listeners(self) -> int:
        """How many listen."""
        return sum(1 for _ in self._everybody())

    @contextmanager
    def listening(self, session_id: str) -> Iterator[Listener]:
        """Listen to one session: its events, states and deltas, once the listener has joined."""
        with self._listening(self._of_session, session_id) as listener:
            yield listener

    @contextmanager
    def listening_to_list(self, scope: Scope) -> Iterator[Listener]:
        """Listen to the states of the sessions in scope, once the listener has joined."""
        with self._listening(self._of_scope, scope) as listener:
            yield listener

    def start(self, kind: str) -> dict[str, int] | None:
        """Return from where on the ring holds every record of each log of a topic; None while nothing is read."""
        topic = self._topics.get(kind)
        return None if topic is None else topic.ring.starts

    def log_id(self, kind: str, partition: int) -> str | None:
        """Return the log that a partition is now; None while nothing is read."""
        topic = self._topics.get(kind)
        return None if topic is None else topic.log_ids.get(partition)

    @property
    def partitions(self) -> int | None:
        """How many partitions the events topic has; None while nothing is read."""
        topic = self._topics.get(EVENT)
        return None if topic is None else len(topic.log_ids)

    def places(self, kind: str) -> dict[str, int]:
        """Return the last offset read of each log of a topic."""
        return dict(self._topics[kind].places)

    def recent(self, kind: str, session_id: str) -> list[LiveRecord]:
        """Return what the ring holds of a session."""
        topic = self._topics.get(kind)
        return [] if topic is None else list(topic.ring.of_session(session_id))

    def recent_states(self, after: Mapping[str, int]) -> list[LiveRecord]:
        """Return the states that the ring holds after these places."""
        return list(self._topics[STATE].ring.after(after))

    def shown(self, record: LiveRecord) -> Shown | None:
        """Return what is in a record, decoded when it is first asked for."""
        if not record.is_shown:
            record.shown, record.is_shown = self._show(record), True
        return record.shown

    # ---

    def _tell_lists(self, record: LiveRecord) -> None:
        shown = self.shown(record)
        for scope, listeners in self._of_scope.items():
            if shown is not None and scope.contains(shown.org_id, shown.owner_team_id):
                self._offer(listeners, record)

    def _offer(self, listeners: Iterable[Listener], record: LiveRecord) -> None:
        for listener in listeners:
            if not listener.offer(record):
                self._on_slow()

    @contextmanager
    def _listening(self, table: dict[Any, set[Listener]], key: Any) -> Iterator[Listener]:
        listener = Listener(self._policy)
        table.setdefault(key, set()).add(listener)
        try:
            yield listener
        finally:
            table[key].discard(listener)
            if not table[key]:
                del table[key]

    def _everybody(self) -> Iterator[Listener]:
        for listeners in (*self._of_session.values(), *self._of_scope.values()):
            yield from listeners
