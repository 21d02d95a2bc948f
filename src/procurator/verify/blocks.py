"""IO: the block roots of logs, kept in memory and extended as the ledger grows, so that proofs are quick.

32 bytes and an offset for 1,024 leaves. Leaves are asked for by offset, which is how the tables order them.
"""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from procurator.errors import Unavailable
from procurator.merkle import LeafRange, root_hash
from procurator.tree_blocks import BLOCK_LEAVES, range_roots
from procurator.verify.source import LedgerSource

#: Roots of ranges of blocks kept for each log.
KNOWN_MAX = 50_000


@dataclass
class _Log:
    roots: list[bytes] = field(default_factory=list)
    #: Where each block begins, and after the last one what comes next.
    offsets: list[int] = field(default_factory=lambda: [0])
    known: dict[LeafRange, bytes] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


class BlockCache:
    """Answers proofs of any log. Methods may be called from several threads."""

    def __init__(self, source: LedgerSource) -> None:
        self._source = source
        self._logs: dict[tuple[str, str], _Log] = {}
        self._lock = threading.Lock()

    def proof(self, table: str, log_id: str, ranges: Iterable[LeafRange], size: int) -> list[bytes]:
        """Return the roots of ``ranges`` within the log's first ``size`` leaves.

        Raises Unavailable when the table does not hold them all (yet).
        """
        with self._lock:
            log = self._logs.setdefault((table, log_id), _Log())
        with log.lock:
            self._extend(table, log_id, log, size // BLOCK_LEAVES)
            if len(log.known) > KNOWN_MAX:
                log.known.clear()
        blocks: dict[int, list[bytes]] = {}

        def read(start: int, end: int) -> list[bytes]:
            number = start // BLOCK_LEAVES
            if number not in blocks:
                blocks[number] = self._block(table, log_id, log, number, size)
            first = number * BLOCK_LEAVES
            return blocks[number][start - first : end - first]

        return range_roots(ranges, log.roots, read, log.known)

    def _extend(self, table: str, log_id: str, log: _Log, whole_blocks: int) -> None:
        if len(log.roots) >= whole_blocks:
            return
        rest: list[bytes] = []
        offsets: list[int] = []
        for page in self._source.leaves(table, log_id, log.offsets[-1]):
            first = len(log.roots) * BLOCK_LEAVES + len(rest)
            if page.indexes != list(range(first, first + len(page.indexes))):
                raise Unavailable(f"log {log_id}: the table does not hold every leaf from {first} on")
            rest += page.hashes
            offsets += page.offsets
            while len(rest) >= BLOCK_LEAVES and len(log.roots) < whole_blocks:
                log.roots.append(root_hash(rest[:BLOCK_LEAVES]))
                log.offsets.append(offsets[BLOCK_LEAVES - 1] + 1)
                del rest[:BLOCK_LEAVES], offsets[:BLOCK_LEAVES]
            if len(log.roots) >= whole_blocks:
                return
        raise Unavailable(f"log {log_id}: the table does not hold {whole_blocks * BLOCK_LEAVES} leaves yet")

    def _block(self, table: str, log_id: str, log: _Log, number: int, size: int) -> list[bytes]:
        first, end = number * BLOCK_LEAVES, min(size, (number + 1) * BLOCK_LEAVES)
        until = log.offsets[number + 1] if number + 1 < len(log.offsets) else None
        page = self._source.leaves_between(table, log_id, log.offsets[number], until, end - first)
        if page.indexes != list(range(first, end)):
            raise Unavailable(f"log {log_id}: the table does not hold leaves {first} to {end - 1}")
        return page.hashes
