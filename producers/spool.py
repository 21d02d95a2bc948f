"""IO: events on disk, while Kafka is away. Each process writes a folder of its own, locked while it lives.

::

    <spool>/<cluster>/<writer>/lock            held (flock) by the process that owns the folder
    <spool>/<cluster>/<writer>/50000001.seg    segments in the order of their events, see `frames`
    <spool>/<cluster>/corrupt/…                what is corrupt, or cannot be sent: kept for people

`append` returns once the disk has everything (one fdatasync a group). A folder whose lock nobody holds belonged to a
process that died: whoever finds it adopts it. A segment is removed only after Kafka has confirmed every event in it; a
process that dies in between leaves it to be sent again, and the ledger counts the repeats nowhere. A segment that the
disk does not give, move or remove stays where it is; nothing waits for it but what its living writer wrote later.
"""

import fcntl
import hashlib
import logging
import os
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from procurator.producers.entropy import random_16
from procurator.producers.frames import Head, Record, Scan, frames, scan

log = logging.getLogger(__name__)

SEGMENT_BYTES_MAX = 8 * 1024 * 1024
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_LOCK = "lock"
_CORRUPT = "corrupt"
_SUFFIX = ".seg"
#: Numbers begin in the middle: there may come events that are older than all on disk.
_MIDDLE = 50_000_000


class SpoolFailed(OSError):
    """The disk did not take a group of events, none of which is kept, or did not give a segment, which stays.

    The message says why.
    """


@dataclass(slots=True)
class Segment:
    """One file of a folder; ``adopted`` if another process wrote it."""

    path: Path
    size: int
    adopted: bool = False


class Spool:
    """The spool of this process for one cluster. Only one thread uses it."""

    def __init__(self, root: Path, head: Head, bytes_max: int) -> None:
        """Nothing is written before the first `append`. ``bytes_max`` bounds what is on disk, adopted events included.

        Folders of clusters are apart: ``root / digest of head.cluster``.
        """
        self._root = root / hashlib.sha256(head.cluster.encode()).hexdigest()[:16]
        self._head = head.encode()
        self._bytes_max = bytes_max
        self._segments: deque[Segment] = deque()
        self._locks: dict[Path, int] = {}
        self._folder: Path | None = None
        self._file: int | None = None
        self._first = self._last = _MIDDLE
        #: Files that were sent and could be neither moved nor removed: the next process may try again.
        self._sent: set[Path] = set()
        self._told: set[str] = set()
        self.bytes = 0

    @property
    def empty(self) -> bool:
        """Whether no event of this process is on disk."""
        return not any(not segment.adopted for segment in self._segments)

    def append(self, records: Sequence[Record]) -> None:
        """Write records, in order, and return once they are on disk. Raises SpoolFailed, having kept none of them."""
        data = self._within_bounds(frames(records))
        try:
            segment = self._open()
            self._write(segment, data)
        except OSError as error:
            raise SpoolFailed(error.strerror or str(error)) from error
        if segment.size >= SEGMENT_BYTES_MAX:
            self.seal()

    def prepend(self, records: Sequence[Record]) -> None:
        """Do as `append`, before all that this process has on disk, which must be something."""
        assert self._folder is not None
        data = self._within_bounds(self._head + frames(records))
        path = self._folder / f"{self._first:08d}{_SUFFIX}"
        try:
            with open(os.open(path, _NEW, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                _sync(file.fileno())
            _sync_folder(self._folder)
        except OSError as error:
            with suppress(OSError):
                path.unlink()
            raise SpoolFailed(error.strerror or str(error)) from error
        self._first -= 1
        ours = next(at for at, segment in enumerate(self._segments) if not segment.adopted)
        self._segments.insert(ours, Segment(path, len(data)))
        self.bytes += len(data)

    def _within_bounds(self, data: bytes) -> bytes:
        if self.bytes + len(data) > self._bytes_max:
            raise SpoolFailed(f"it holds {self.bytes:,} bytes, and may hold {self._bytes_max:,}")
        return data

    def seal(self) -> None:
        """Let the next `append` begin a new segment."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def oldest(self) -> Segment | None:
        """Return the segment to be sent next: adopted ones first. It is not written to any more."""
        if not self._segments:
            return None
        if len(self._segments) == 1:
            self.seal()
        return self._segments[0]

    def read(self, segment: Segment) -> Scan:
        """Return what the oldest segment holds; what is corrupt of it is put aside when it is removed.

        Raises SpoolFailed when the disk does not give it, which may pass: that says nothing about what it holds.
        """
        try:
            return scan(segment.path.read_bytes())
        except FileNotFoundError:
            self._say(f"{segment.path} is gone, and with it its events: nobody but this SDK should remove files there")
            return Scan(None, [], 0, None)
        except OSError as error:
            why = f"{segment.path} cannot be read ({error.strerror or error})"
            self._say(f"{why}: it is kept and tried again; see to the disk, or to how many files this process has open")
            raise SpoolFailed(why) from error

    def remove(self, segment: Segment, found: Scan) -> None:
        """Forget a segment, whose whole frames Kafka has confirmed; keep the rest of a corrupt one aside.

        Where the disk lets neither be done the file stays, and this process does not send it again.
        """
        if found.problem is not None:
            delivered = f"the {len(found.records)} events before are delivered"
            what = f"is corrupt from byte {found.end} on ({found.problem}): {delivered}"
            gone = self._put_aside(segment, what, "the rest is kept in")
        else:
            gone = _removed(segment.path)
        if not gone:
            self._sent.add(segment.path)
        self.let_go(segment)

    def refuse(self, segment: Segment, why: str) -> None:
        """Put a segment aside of which nothing can be sent before somebody has mended ``why``; else `let_go`."""
        self._put_aside(segment, f"cannot be sent: {why}", "once that is mended, move it back there from")
        self.let_go(segment)

    def let_go(self, segment: Segment) -> None:
        """Forget a segment; if it is still there and was adopted, a later `adopt` finds it, here or elsewhere."""
        self._segments.remove(segment)  # The oldest no more, if others were adopted meanwhile.
        self.bytes -= segment.size
        folder = segment.path.parent
        if folder != self._folder and not any(other.path.parent == folder for other in self._segments):
            self._leave(folder)

    def adopt(self) -> int:
        """Take over the folders of processes that died; return how many segments came with them."""
        before = len(self._segments)
        found: list[Segment] = []
        with suppress(OSError):  # No spool, or one that cannot be read: nothing to adopt.
            for folder in sorted(self._root.iterdir()):
                if folder.name != _CORRUPT and folder not in self._locks and self._lock(folder):
                    segments = []
                    with suppress(OSError):  # It is tried again, as long as nobody holds its lock.
                        segments = [segment for segment in _segments(folder) if segment.path not in self._sent]
                    found += segments
                    if not segments:
                        self._leave(folder)
        self._segments.extendleft(reversed(found))
        self.bytes += sum(segment.size for segment in found)
        return len(self._segments) - before

    def close(self) -> None:
        """Let go of everything; what is still on disk is for the next process."""
        self.seal()
        for folder in list(self._locks):
            self._leave(folder)

    def forget(self) -> None:
        """Close without a change on disk: in a forked child, whose parent owns all this."""
        self.seal()
        for lock in self._locks.values():
            os.close(lock)
        self._locks.clear()
        self._segments.clear()

    def _open(self) -> Segment:
        """Return the segment that is written to, a new one if need be."""
        if self._file is not None:
            return self._segments[-1]
        if self._folder is None:
            folder = self._root / random_16().hex()
            folder.mkdir(mode=0o700, parents=True)
            if not self._lock(folder):
                raise OSError(f"{folder} is locked by another process")
            self._folder = folder
        self._last += 1
        path = self._folder / f"{self._last:08d}{_SUFFIX}"
        self._file = os.open(path, _NEW, 0o600)
        segment = Segment(path, 0)
        self._segments.append(segment)
        self._write(segment, self._head)
        _sync_folder(self._folder)
        return segment

    def _write(self, segment: Segment, data: bytes) -> None:
        """Write and sync; on failure the segment ends where it ended."""
        assert self._file is not None
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._file, rest) :]
            _sync(self._file)
        except OSError:
            # What is left of it would be a corrupt frame in the midst of the segment.
            with suppress(OSError):
                os.ftruncate(self._file, segment.size)
                os.lseek(self._file, segment.size, os.SEEK_SET)
            self.seal()
            if not segment.size:
                self._segments.remove(segment)
                with suppress(OSError):
                    segment.path.unlink()
            raise
        segment.size += len(data)
        self.bytes += len(data)

    def _put_aside(self, segment: Segment, what: str, then: str) -> bool:
        """Move a segment to where people find it; return whether it could be. ``then`` goes before that place."""
        place = self._root / _CORRUPT / f"{segment.path.parent.name}-{segment.path.name}"
        try:
            place.parent.mkdir(mode=0o700, exist_ok=True)
            os.replace(segment.path, place)
        except OSError as error:
            self._say(f"{segment.path} {what}; it stays there, since it cannot be moved to {place}: {error.strerror}")
            return False
        self._say(f"{segment.path} {what}, {then} {place}")
        return True

    def _say(self, message: str) -> None:
        """Log it once: what fails is tried again and again."""
        if message not in self._told:
            self._told.add(message)
            log.error("spool: %s", message)

    def _lock(self, folder: Path) -> bool:
        try:
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return False
        self._locks[folder] = lock
        return True

    def _leave(self, folder: Path) -> None:
        """Let go of a folder. One that holds nothing is removed, its lock last: who waits for that finds nothing."""
        lock = self._locks.pop(folder, None)
        with suppress(OSError):
            if not _segments(folder):
                (folder / _LOCK).unlink()
                folder.rmdir()
        if folder == self._folder:
            self._folder, self._first, self._last = None, _MIDDLE, _MIDDLE
        if lock is not None:
            os.close(lock)


def _segments(folder: Path) -> list[Segment]:
    paths = sorted(path for path in folder.iterdir() if path.suffix == _SUFFIX)
    return [Segment(path, path.stat().st_size, adopted=True) for path in paths]


def _removed(path: Path) -> bool:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _sync(file: int) -> None:
    # macOS has no fdatasync.
    getattr(os, "fdatasync", os.fsync)(file)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
