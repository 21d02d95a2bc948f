"""Records of one log as they stand in Kafka, in columns. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Self


class Record(NamedTuple):
    """One record; ``broker_time_us`` is Kafka's LogAppendTime."""

    offset: int
    broker_time_us: int
    key: bytes | None
    value: bytes | None


@dataclass(slots=True)
class Records:
    """Records by ascending offset, one list a field: what leaf hashes and columns are made from."""

    offsets: list[int] = field(default_factory=list)
    broker_times_us: list[int] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)

    @classmethod
    def of(cls, records: Iterable[Record]) -> Self:
        columns = [list(column) for column in zip(*records, strict=True)] or [[], [], [], []]
        return cls(*columns)

    def __len__(self) -> int:
        return len(self.offsets)

    def append(self, offset: int, broker_time_us: int, key: bytes | None, value: bytes | None) -> None:
        self.offsets.append(offset)
        self.broker_times_us.append(broker_time_us)
        self.keys.append(key)
        self.values.append(value)

    def extend(self, others: "Records") -> None:
        """Append records that follow these."""
        self.offsets += others.offsets
        self.broker_times_us += others.broker_times_us
        self.keys += others.keys
        self.values += others.values

    def within(self, rows_max: int, bytes_max: int) -> int:
        """Return how many of the first records stay within both limits; at least one."""
        if len(self) <= rows_max and self.size_bytes <= bytes_max:
            return len(self)
        size = count = 0
        for key, value in zip(self.keys[:rows_max], self.values[:rows_max], strict=True):
            size += len(key or b"") + len(value or b"")
            if size > bytes_max and count:
                break
            count += 1
        return count

    def take(self, count: int) -> "Records":
        """Remove and return the first ``count`` records."""
        taken = Records(self.offsets[:count], self.broker_times_us[:count], self.keys[:count], self.values[:count])
        for column in (self.offsets, self.broker_times_us, self.keys, self.values):
            del column[:count]
        return taken

    @property
    def size_bytes(self) -> int:
        """Bytes of all keys and values."""
        return sum(map(len, filter(None, self.keys))) + sum(map(len, filter(None, self.values)))
