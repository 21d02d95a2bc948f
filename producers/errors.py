"""What the SDK raises into an agent, beside UserError (a call that makes no sense) and Backpressure (queue full)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from procurator.errors import Backpressure, ProcuratorError

TerminalStatus = Literal["COMPLETED", "FAILED", "TERMINATED", "TIMEOUT"]


@dataclass(frozen=True, slots=True)
class TerminateSignal:
    """Who stopped the session, and why. ``signal_id`` is a UUID, None when no signal stands behind it.

    ``status`` is what the session ends in: TERMINATED, or TIMEOUT when it ran longer than its ``timeout_s``.
    """

    issued_by: str
    reason: str | None = None
    signal_id: str | None = None
    status: TerminalStatus = "TERMINATED"


class SessionTerminated(ProcuratorError):
    """The session was told to stop. Let it leave the session's block: that ends the session TERMINATED.

    ``session_id`` says which session, None when an agent's own code raises this: to a session around it, another
    session's termination is an error like any other.
    """

    def __init__(self, signal: TerminateSignal, session_id: str | None = None) -> None:
        why = f": {signal.reason}" if signal.reason else ""
        super().__init__(f"terminated by {signal.issued_by}{why}")
        self.signal = signal
        self.session_id = session_id


@dataclass(frozen=True, slots=True)
class FailedEvent:
    """An event that Kafka refused for good."""

    session_id: str
    event_id: str
    reason: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """A session whose last ``count`` events are not confirmed by Kafka, which confirms a session's events in order."""

    session_id: str
    count: int


class Dropped(Backpressure):
    """There was no room for an event, and the policy is not to wait: it is dropped, and its session records a gap."""


class DeliveryFailed(ProcuratorError):
    """Events that were accepted are not confirmed: ``failed`` will never be, ``unconfirmed`` may still be.

    Each failed event is reported once (``failed_count`` of them; the first 10,000 are named); unconfirmed ones stay
    queued, so that `Procurator.flush` can be called again.
    """

    def __init__(
        self, failed: Sequence[FailedEvent], unconfirmed: Sequence[Unconfirmed], failed_count: int | None = None
    ) -> None:
        self.failed = tuple(failed)
        self.failed_count = len(failed) if failed_count is None else failed_count
        self.unconfirmed = tuple(unconfirmed)
        waiting = sum(entry.count for entry in unconfirmed)
        parts = []
        if failed:
            parts.append(f"{self.failed_count} event(s) refused, first {failed[0].event_id}: {failed[0].reason}")
        if unconfirmed:
            parts.append(f"{waiting} event(s) of {len(unconfirmed)} session(s) not confirmed by Kafka yet")
        super().__init__("; ".join(parts))
