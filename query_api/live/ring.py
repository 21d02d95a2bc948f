"""The most recent records of one topic, in bounded memory, so that a listener can join where the ledger ends. Pure."""

from collections import deque
from collections.abc import Iterator, Mapping

from procurator.query_api.live.records import LiveRecord


class Ring:
    """Holds, of each partition, every record from its `start` on; the oldest leave when there is no room.

    ``starts``: the offset of each log that the reading begins at.
    """

    def __init__(self, bytes_max: int, starts: Mapping[str, int]) -> None:
        self._bytes_max = bytes_max
        self._starts = dict(starts)
        self._records: deque[LiveRecord] = deque()
        self._by_session: dict[str, deque[LiveRecord]] = {}
        self._bytes = 0

    def start(self, log_id: str) -> int:
        """Return the offset from which on the ring holds every record of a log."""
        return self._starts[log_id]

    @property
    def starts(self) -> dict[str, int]:
        """The start of each log."""
        return dict(self._starts)

    def add(self, record: LiveRecord) -> None:
        """Take the next record of its log."""
        self._records.append(record)
        self._by_session.setdefault(record.session_id, deque()).append(record)
        self._bytes += record.size_bytes
        while self._bytes > self._bytes_max:
            self._forget_oldest()

    def of_session(self, session_id: str) -> Iterator[LiveRecord]:
        """Yield the records of a session, in order."""
        yield from self._by_session.get(session_id, ())

    def after(self, places: Mapping[str, int]) -> Iterator[LiveRecord]:
        """Yield the records after ``places`` (log id → last offset), in the order they came."""
        for record in self._records:
            if record.offset > places.get(record.log_id, -1):
                yield record

    def _forget_oldest(self) -> None:
        oldest = self._records.popleft()
        self._bytes -= oldest.size_bytes
        self._starts[oldest.log_id] = oldest.offset + 1
        # A session's records are in the order of the whole ring: its first one is this one.
        of_session = self._by_session[oldest.session_id]
        of_session.popleft()
        if not of_session:
            del self._by_session[oldest.session_id]
