"""IO: signed heads by log in temporary files, so that years of epochs need no memory."""

import tempfile
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

from procurator.control_entries import Head

_ITEM = Struct(">QQ32s")


class SpooledHead(NamedTuple):
    """A head: leaves, the epoch's leaf index in the control log, root."""

    size: int
    control_index: int
    root: bytes


class HeadSpool:
    """Heads of each log, ascending in size. A context manager: the files go with it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="procurator-verify-")
        self._files: dict[str, BinaryIO] = {}
        self._counts: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()
        self._folder.cleanup()

    def add(self, control_index: int, head: Head) -> None:
        """Append a head that is larger than the log's last."""
        if head.size:
            file = self._files.get(head.log_id) or self._open(head.log_id)
            file.write(_ITEM.pack(head.size, control_index, head.root))
            self._counts[head.log_id] += 1

    def heads(self, log_id: str) -> Iterator[SpooledHead]:
        """Yield the heads of a log, in order."""
        for at in range(self._counts.get(log_id, 0)):
            yield self._read(log_id, at)

    def covering(self, log_id: str, leaf_index: int) -> SpooledHead | None:
        """Return the first head that covers a leaf, None if none does."""
        count = self._counts.get(log_id, 0)
        at = bisect_right(range(count), leaf_index, key=lambda n: self._read(log_id, n).size)
        return self._read(log_id, at) if at < count else None

    def size_at(self, log_id: str, control_size: int) -> int:
        """Return the log's size in the last epoch among the control log's first ``control_size`` leaves."""
        at = bisect_left(
            range(self._counts.get(log_id, 0)), control_size, key=lambda n: self._read(log_id, n).control_index
        )
        return self._read(log_id, at - 1).size if at else 0

    def _open(self, log_id: str) -> BinaryIO:
        path = Path(self._folder.name) / f"{len(self._files)}"
        self._files[log_id] = file = path.open("w+b")
        self._counts[log_id] = 0
        return file

    def _read(self, log_id: str, at: int) -> SpooledHead:
        file = self._files[log_id]
        file.seek(at * _ITEM.size)
        data = file.read(_ITEM.size)
        file.seek(0, 2)
        return SpooledHead(*_ITEM.unpack(data))
