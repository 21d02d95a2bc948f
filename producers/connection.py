"""IO: the way to Kafka as far as there is one: looked for in the background, watched while it is there."""

import logging
import time
from collections.abc import Callable

from procurator.errors import ProcuratorError
from procurator.producers.attempt import Attempt
from procurator.producers.broker import Broker

log = logging.getLogger(__name__)

#: Kafka has confirmed nothing for so long, though asked to: it is away.
STALL_S = 3.0
_AGAIN_S = (0.2, 10.0)


class Connection:
    """Whether Kafka can be given events. One thread at a time uses it."""

    def __init__(self, connect: Callable[[], Broker]) -> None:
        """``connect`` raises what it likes while Kafka cannot be reached."""
        self.broker: Broker | None = None
        #: Why Kafka takes nothing, as far as known; None while it does, or was not asked yet.
        self.away: str | None = None
        self._connect = connect
        self._attempt: Attempt | None = None
        self._again_at_s = 0.0
        self._pause_s = _AGAIN_S[0]
        self._confirmed = 0
        self._progress_s = 0.0
        #: Why, of this outage, was said already.
        self._complained: set[str | None] = set()

    def open(self) -> None:
        """Connect now. Raises Unavailable or UserError."""
        self._take(self._connect())

    def look(self) -> None:
        """Try to connect, at growing intervals, waiting for nothing."""
        attempt, now_s = self._attempt, time.monotonic()
        if attempt is None:
            if now_s >= self._again_at_s:
                self._attempt = Attempt(self._connect)
        elif attempt.broker is not None:
            self._take(attempt.broker)
        elif (error := attempt.error) is not None:
            self.lose(str(error) if isinstance(error, ProcuratorError) else repr(error))
            self._pause_s = min(2 * self._pause_s, _AGAIN_S[1])

    def watch(self, broker: Broker) -> None:
        """Notice that Kafka does not confirm anything any more, or does again.

        What librdkafka was given stays with it, which sends it again without repeating it: taken back and sent by
        another producer, what Kafka had without having said so would be in the ledger twice.
        """
        now_s = time.monotonic()
        confirmed = broker.confirmed
        if not broker.outstanding or confirmed > self._confirmed:
            self._confirmed, self._progress_s = confirmed, now_s
            self._back()
        elif self.away is None and now_s - self._progress_s > STALL_S:
            self.away = f"Kafka: it has confirmed nothing for {STALL_S:g} s"

    def lose(self, why: str | None) -> None:
        """Let go of the broker, to connect again after a while; None: nobody will want to."""
        self.broker = self._attempt = None
        self._again_at_s = time.monotonic() + self._pause_s
        self.away = why

    def complain(self, fate: str) -> None:
        """Say why events cannot be delivered, and what becomes of them: each reason once."""
        if self.away not in self._complained:
            self._complained.add(self.away)
            log.warning("events cannot be delivered for now, %s: %s", fate, self.away)

    def _take(self, broker: Broker) -> None:
        self.broker, self._attempt = broker, None
        self._pause_s = _AGAIN_S[0]
        self._confirmed, self._progress_s = 0, time.monotonic()
        self._back()

    def _back(self) -> None:
        self.away = None
        if self._complained:
            self._complained.clear()
            log.warning("Kafka is back; what waited is sent now")
