"""A segment of the spool on its way to Kafka."""

from procurator.producers.broker import Broker
from procurator.producers.frames import Scan
from procurator.producers.spool import Segment


class Replay:
    """Sends one segment, bit by bit; meanwhile its events are on disk still, so whoever gives up loses nothing."""

    def __init__(self, segment: Segment, found: Scan, header: bytes) -> None:
        self.segment = segment
        self.found = found
        self._header = header
        self._sent = 0

    def go_on(self, broker: Broker, wait_s: float) -> bool:
        """Send what there is room for, and wait a little; return whether Kafka has confirmed the whole segment."""
        records = self.found.records
        try:
            while self._sent < len(records):
                broker.send(*records[self._sent], self._header)
                self._sent += 1
        except BufferError:
            broker.serve(wait_s)
            return False
        return broker.drain(wait_s) and not broker.returned
