"""A partition that is ours: its sessions, its log in Kafka, how far it has come, and what is told of that."""

from time import monotonic

from procurator import clock, metrics
from procurator.stream_processors.budgets.observer import Observer
from procurator.stream_processors.ended_store import EndedStore
from procurator.stream_processors.partition import SessionPartition
from procurator.stream_processors.state_log import StateLog
from procurator.stream_processors.transport import Batch


class Owned:
    """One partition of ``topic``. ``broker_time_us`` is that of its last record folded, 0 before the first."""

    def __init__(
        self,
        topic: str,
        sessions: SessionPartition,
        state_log: StateLog,
        ended: EndedStore,
        observer: Observer | None,
    ) -> None:
        self.sessions = sessions
        self.state_log = state_log
        self.folded_s = monotonic()
        self.broker_time_us = 0
        self._ended = ended
        self._observer = observer
        self._labels = topic, str(sessions.log.partition)

    def folded(self, batch: Batch, end: int | None) -> None:
        """A batch was folded; ``end`` is where the partition ends, as far as known."""
        self.folded_s = monotonic()
        self.broker_time_us = batch.records[-1].timestamp * 1000
        metrics.EVENT_AGE_SECONDS.observe(max(0.0, (clock.now_us() - self.broker_time_us) / 1e6))
        if end is not None:
            metrics.LAG.labels(*self._labels).set(max(0, end - self.sessions.position))
        if self._observer is not None:
            metrics.UNPRICED_CALLS.inc(self._observer.unpriced_calls)
            self._observer.unpriced_calls = 0

    def close(self) -> None:
        """The partition is another worker's now."""
        self.state_log.close()
        self._ended.close()
        metrics.LAG.remove(*self._labels)
