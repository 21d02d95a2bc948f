"""When the records gathered of one log become a block. Pure: the time is passed in, in seconds of any one clock."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BatchPolicy:
    """How large and how old a batch may grow.

    Small blocks are soon there and dear: each is an insert, a look back, and a part to be merged. So a batch is due
    after ``age_s`` while inserting is quick; where a block of each log takes longer than ``share_max`` of that, all
    together, later, up to ``age_s_max``. A batch that is due waits while ``blocks_max`` blocks are under way, and grows
    meanwhile.
    """

    rows_max: int = 50_000
    #: Of keys and values, as Kafka has them. A block's memory is some four times that.
    bytes_max: int = 48 * 1024 * 1024
    age_s: float = 0.15
    age_s_max: float = 1.0
    share_max: float = 0.25
    #: Blocks made but not yet in the ledger, over all logs: enough that the database never waits for us.
    blocks_max: int = 3
    #: What may wait to be made into blocks, over all logs, before no more is fetched.
    waiting_rows_max: int = 100_000
    waiting_bytes_max: int = 96 * 1024 * 1024

    def age_after(self, spent_s: float) -> float:
        """Return how old a batch may grow when the last blocks of all logs took ``spent_s`` to get into the ledger."""
        return min(max(self.age_s, spent_s / self.share_max), self.age_s_max)


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

    def is_due(self, policy: BatchPolicy, now_s: float, spent_s: float = 0.0) -> bool:
        """Tell whether a block should be made now: full, or its first record has waited long enough.

        ``spent_s``: how long the last blocks of all logs that have records took to get into the ledger, in all.
        """
        if self.started_at_s is None:
            return False
        return self.is_full(policy) or now_s - self.started_at_s >= policy.age_after(spent_s)
