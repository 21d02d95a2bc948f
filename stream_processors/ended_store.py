"""IO: the states of sessions that have ended, on this machine's disk (RocksDB): memory is bounded by what is open.

A session that has ended may get one more event, a late one or a correction, and then its state is needed whole: it is
no new session. Nothing here outlives the process. Kafka is the changelog, from which this is filled when a partition is
opened (decision 0012).
"""

import fcntl
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from rocksdict import BlockBasedOptions, Cache, DBCompressionType, Options, Rdict, WriteBatch, WriteOptions

_BATCH = 1_000
_MEMTABLE_BYTES = 8 << 20
_CACHE_BYTES = 8 << 20
_FILES_OPEN_MAX = 64
#: Nearly every question is about a session that has just begun: the filter answers it without a look at the disk.
_FILTER_BITS = 10


class EndedStore:
    """Encoded states by session id, of one partition. One thread at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._options = _options()
        self._db = Rdict(str(folder), self._options)
        unlogged = WriteOptions()
        unlogged.disable_wal = True
        self._db.set_write_options(unlogged)
        self._unwritten: dict[str, bytes] = {}

    def get(self, session_id: str) -> bytes | None:
        """Return the state of a session that has ended, None when it is not known."""
        value: bytes | None = self._unwritten.get(session_id) or self._db.get(session_id.encode())
        return value

    def __setitem__(self, session_id: str, value: bytes) -> None:
        self._unwritten[session_id] = value
        if len(self._unwritten) >= _BATCH:
            batch = WriteBatch(raw_mode=True)
            for name, state in self._unwritten.items():
                batch.put(name.encode(), state)
            self._db.write(batch)
            self._unwritten.clear()

    def pop(self, session_id: str, _default: None = None) -> None:
        """Forget a session."""
        self._unwritten.pop(session_id, None)
        self._db.delete(session_id.encode())

    def close(self) -> None:
        """Forget everything."""
        self._db.close()
        Rdict.destroy(str(self._folder), self._options)


class Scratch:
    """A folder of this process alone, under ``parent``; what processes that were killed have left there is removed."""

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self._lock: IO[str] | None = None
        self.path = parent

    def __enter__(self) -> Self:
        self._parent.mkdir(parents=True, exist_ok=True)
        with (self._parent / ".lock").open("w") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            for folder in self._parent.iterdir():
                if folder.is_dir() and (left := _lock(folder)) is not None:
                    with left:
                        shutil.rmtree(folder, ignore_errors=True)
            self.path = Path(tempfile.mkdtemp(dir=self._parent))
            self._lock = _lock(self.path)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _t: TracebackType | None
    ) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()


def _lock(folder: Path) -> IO[str] | None:
    """Return the folder's lock, which lasts as long as the file is open; None when a process has it."""
    file = (folder / ".alive").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def _options() -> Options:
    blocks = BlockBasedOptions()
    blocks.set_bloom_filter(_FILTER_BITS, False)
    blocks.set_block_cache(Cache(_CACHE_BYTES))
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(blocks)
    options.set_write_buffer_size(_MEMTABLE_BYTES)
    options.set_max_open_files(_FILES_OPEN_MAX)
    options.set_compression_type(DBCompressionType.lz4())
    return options
