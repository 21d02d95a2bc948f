"""IO: which leaves were purged or erased, in a temporary database, so that years of purges need no memory."""

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from procurator.merkle import HASH_BYTES

_TABLES = """
CREATE TABLE purged (log_id TEXT, first INTEGER, end INTEGER, retained BLOB, purge_id TEXT,
                     PRIMARY KEY (log_id, first, purge_id)) WITHOUT ROWID;
CREATE TABLE purges (purge_id TEXT PRIMARY KEY, says TEXT, completed INTEGER) WITHOUT ROWID;
CREATE TABLE sessions (session_id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE erased (log_id TEXT, first INTEGER, end INTEGER, PRIMARY KEY (log_id, first, end)) WITHOUT ROWID;
"""


class PurgedRange(NamedTuple):
    """Leaves [first, end) of a signed purge, and the roots of their perfect subtrees.

    Until it is ``completed``, which a second entry says, some of them may still be there.
    """

    first: int
    end: int
    retained: tuple[bytes, ...]
    completed: bool


class RangeSpool:
    """Ranges of all logs. A context manager: the file goes with it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="procurator-verify-")
        self._database = sqlite3.connect(Path(self._folder.name) / "ranges", isolation_level=None)
        self._database.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + _TABLES)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()
        self._folder.cleanup()

    def add_purge(
        self,
        purge_id: str,
        says: str,
        ranges: Iterable[tuple[str, int, int, tuple[bytes, ...]]],
        session_ids: Iterable[str],
    ) -> None:
        """Add a purge: (log id, first, end, retained hashes) each. ``says``: what its second entry must say as well."""
        execute = self._database.executemany
        execute("INSERT OR IGNORE INTO purges VALUES (?, ?, 0)", [(purge_id, says)])
        rows = ((log_id, first, end, b"".join(retained), purge_id) for log_id, first, end, retained in ranges)
        execute("INSERT OR IGNORE INTO purged VALUES (?, ?, ?, ?, ?)", rows)
        execute("INSERT OR IGNORE INTO sessions VALUES (?)", ((session_id,) for session_id in session_ids))

    def complete(self, purge_id: str, says: str) -> bool:
        """Note a purge's second entry; return whether there is a purge that says the same."""
        sql = "UPDATE purges SET completed = 1 WHERE purge_id = ? AND says = ?"
        return self._database.execute(sql, (purge_id, says)).rowcount == 1

    def add_erasure(self, ranges: Iterable[tuple[str, int, int]]) -> None:
        """Add erased leaves: (log id, first, end) each."""
        self._database.executemany("INSERT OR IGNORE INTO erased VALUES (?, ?, ?)", ranges)

    def purged(self, log_id: str, first: int = 0) -> Iterator[PurgedRange]:
        """Yield the purged ranges of a log that begin at a leaf or later, in order."""
        rows = self._database.execute(
            "SELECT first, end, retained, completed FROM purged JOIN purges USING (purge_id)"
            " WHERE log_id = ? AND first >= ? ORDER BY first",
            (log_id, first),
        )
        for start, end, retained, completed in rows:
            hashes = (retained[at : at + HASH_BYTES] for at in range(0, len(retained), HASH_BYTES))
            yield PurgedRange(start, end, tuple(hashes), bool(completed))

    def has_purged(self, session_id: str) -> bool:
        """Whether entries of a session were purged."""
        return self._one("SELECT 1 FROM sessions WHERE session_id = ?", session_id)

    def is_erased(self, log_id: str, leaf_index: int) -> bool:
        """Whether a leaf's bytes were erased."""
        sql = "SELECT 1 FROM erased WHERE log_id = ? AND first <= ? AND end > ? LIMIT 1"
        return self._one(sql, log_id, leaf_index, leaf_index)

    def _one(self, sql: str, *values: str | int) -> bool:
        return self._database.execute(sql, values).fetchone() is not None
