"""How far the deliveries to an endpoint are, as the forwarder keeps it in Kafka and the API shows it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

#: Log id → next offset.
Positions = Mapping[str, int]


class Entries(NamedTuple):
    """Some entries of one log, by ascending offset."""

    log_id: str
    offsets: tuple[int, ...]


@dataclass(frozen=True)
class Outcome:
    """How a test delivery went. ``status`` None: there was no answer."""

    request_id: str
    tested_at: int
    succeeded: bool
    status: int | None
    message: str
    latency_ms: float


@dataclass(frozen=True)
class State:
    """Everything before ``positions`` is done with; ``batch`` is being delivered and begins at ``next_sequence``.

    Written before the batch is sent, so that whoever repeats it after a crash gives each entry the number it had.
    Times are µs since the epoch.
    """

    endpoint_id: str
    positions: Positions
    next_sequence: int = 0
    batch: tuple[Entries, ...] = ()
    batch_ends: Positions = field(default_factory=dict)
    handled: tuple[str, ...] = ()
    delivered: int = 0
    failures: int = 0
    failing_since: int | None = None
    breaker_open: bool = False
    retry_at: int | None = None
    last_success_at: int | None = None
    last_failure_at: int | None = None
    last_error: str | None = None
    stopped_revision: int | None = None
    stopped_reason: str | None = None
    last_test: Outcome | None = None

    def to_record(self) -> dict[str, Any]:
        """Return the raw record of webhook_state.avsc."""
        return {
            **vars(self),
            "batch": to_pointers(self.batch),
            "last_test": None if self.last_test is None else vars(self.last_test),
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """Return the state in a raw record."""
        test = record["last_test"]
        return cls(
            **{
                **record,
                "batch": from_pointers(record["batch"]),
                "handled": tuple(record["handled"]),
                "last_test": None if test is None else Outcome(**test),
            }
        )


@dataclass(frozen=True)
class DeadLetter:
    """A batch that was given up: pointers, so that it can be delivered again with the numbers it had."""

    endpoint_id: str
    sequence: int
    entries: tuple[Entries, ...]
    given_up_at: int
    reason: str
    status: int | None
    attempts: int

    @property
    def key(self) -> str:
        """The record's key; an endpoint's id has a fixed length."""
        return f"{self.endpoint_id}{self.sequence}"

    def to_record(self) -> dict[str, Any]:
        """Return the raw record of webhook_dead_letter.avsc."""
        return {**vars(self), "entries": to_pointers(self.entries)}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """Return the dead letter in a raw record."""
        return cls(**{**record, "entries": from_pointers(record["entries"])})


def to_pointers(batch: tuple[Entries, ...]) -> list[dict[str, Any]]:
    """Return raw records of WebhookEntries."""
    return [{"log_id": each.log_id, "offsets": list(each.offsets)} for each in batch]


def from_pointers(records: list[dict[str, Any]]) -> tuple[Entries, ...]:
    """Return the entries that raw records of WebhookEntries point to."""
    return tuple(Entries(each["log_id"], tuple(each["offsets"])) for each in records)
