"""What carries a process's events away: Kafka and the spool (`delivery`), or the memory of a test (`memory`)."""

import threading
from typing import Protocol


class Transport(Protocol):
    """Carries records; what it has accepted it delivers, or says that it did not."""

    #: Set when `serve` has something to do at once.
    woken: threading.Event

    def send(self, key: bytes, body: bytes) -> None:
        """Accept one record: its key, and its Avro without a header. Raises Backpressure when it was not accepted."""

    def confirm(self, deadline_s: float) -> None:
        """Wait until everything accepted so far would outlive this process. Raises Unavailable if it would not."""

    def serve(self) -> float:
        """Do what is due, in the one thread that keeps the sessions; return the seconds until there may be more."""

    def flush(self, deadline_s: float, patient: bool = True) -> int:
        """Wait until everything accepted so far is delivered; what is not in time is put on disk, if there is one.

        Returns how many events are on disk. Raises DeliveryFailed saying what is neither. Unless ``patient``, does not
        wait for what is known to be away.
        """

    def check(self) -> None:
        """Raise Unavailable or UserError when events cannot be delivered now."""

    def close(self) -> None:
        """Let go of what is left, when nobody serves any more."""

    def forget(self) -> None:
        """Let go in a forked child, touching nothing that the parent goes on using."""
