"""When the records gathered of one log become a block. Pure: the time is passed in, in seconds of any one clock."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BatchPolicy:
    """How large and how old a batch may grow.

    An old batch waits for the one before it, and so grows while the database is busy: small blocks when there is
    little to do, large ones when there is much.
    """

    rows_max: int = 40_000
    #: Of keys and values, as Kafka has them. A block's memory is some four times that.
    bytes_max: int = 48 * 1024 * 1024
    age_s_max: float = 0.15

    @property
    def buffer_rows_max(self) -> int:
        """How many records may wait before no more are fetched: one block beyond the one being made."""
        return 2 * self.rows_max

    @property
    def buffer_bytes_max(self) -> int:
        return 2 * self.bytes_max


@dataclass(slots=True)
class BatchState:
    """What has been gathered since the last block."""

    rows: int = 0
    bytes: int = 0
    started_at_s: float | None = None

    def add(self, rows: int, size_bytes: int, now_s: float) -> None:
        """Count records that have come; the age runs from the first."""
        if rows and self.started_at_s is None:
            self.started_at_s = now_s
        self.rows += rows
        self.bytes += size_bytes

    def remove(self, rows: int, size_bytes: int) -> None:
        """Take off what went into a block; what is left keeps its age, so that it is due at once."""
        self.rows -= rows
        self.bytes -= size_bytes
        if not self.rows:
            self.started_at_s = None

    def is_full(self, policy: BatchPolicy) -> bool:
        return self.rows >= policy.rows_max or self.bytes >= policy.bytes_max

    def is_due(self, policy: BatchPolicy, now_s: float) -> bool:
        """Tell whether a block should be made now: full, or its first record has waited long enough."""
        if self.started_at_s is None:
            return False
        return self.is_full(policy) or now_s - self.started_at_s >= policy.age_s_max

    def is_over(self, policy: BatchPolicy) -> bool:
        """Tell whether fetching should rest until a block has gone out."""
        return self.rows >= policy.buffer_rows_max or self.bytes >= policy.buffer_bytes_max
