"""IO: the block roots of logs, kept in memory and extended as the ledger grows, so that proofs are quick.

32 bytes and an offset for 1,024 leaves. Leaves are asked for by offset, which is how the tables order them.
"""

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from procurator.errors import Unavailable
from procurator.merkle import LeafRange, root_hash
from procurator.tree_blocks import BLOCK_LEAVES, Gone, Retained, block_root, composed_root, range_roots
from procurator.verify.source import Leaves, LedgerSource

#: Roots of ranges of blocks kept for each log.
KNOWN_MAX = 50_000
#: Fewer blocks are read leaf by leaf as soon.
_BLOCKS_WORTH_ASKING = 16


@dataclass
class _Log:
    roots: list[bytes | None] = field(default_factory=list)
    #: Where each block begins at the earliest, and after the last one what comes next.
    offsets: list[int] = field(default_factory=lambda: [0])
    known: dict[LeafRange, bytes] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


class BlockCache:
    """Answers proofs of any log; ``retained`` hashes stand for what was purged. For several threads."""

    def __init__(self, source: LedgerSource, retained: Callable[[str], Retained]) -> None:
        self._source = source
        self._retained = retained
        self._logs: dict[tuple[str, str], _Log] = {}
        self._lock = threading.Lock()

    def proof(self, table: str, log_id: str, ranges: Iterable[LeafRange], size: int) -> list[bytes]:
        """Return the roots of ``ranges`` within the log's first ``size`` leaves.

        Raises Unavailable when the table does not hold them all (yet).
        """
        with self._lock:
            log = self._logs.setdefault((table, log_id), _Log())
        retained = self._retained(log_id)
        blocks: dict[int, Leaves] = {}

        def within(start: int, end: int) -> bytes:
            number = start // BLOCK_LEAVES
            if number not in blocks:
                blocks[number] = self._block(table, log_id, log, number)
            page = blocks[number]
            at, until = bisect_left(page.indexes, start), bisect_left(page.indexes, end)
            if until - at == end - start:
                return root_hash(page.hashes[at:until])
            return composed_root(start, end, dict(zip(page.indexes, page.hashes, strict=True)), retained)

        try:
            with log.lock:
                self._extend(table, log_id, log, size // BLOCK_LEAVES, retained)
                if len(log.known) > KNOWN_MAX:
                    log.known.clear()
            return range_roots(ranges, log.roots, within, log.known, retained)
        except Gone as gone:
            raise Unavailable(f"log {log_id}: the table does not hold {gone}, nor a hash in its place") from None

    def _extend(self, table: str, log_id: str, log: _Log, whole_blocks: int, retained: Retained) -> None:
        """Add block roots until there are ``whole_blocks``. Raises Gone for a leaf not there and not purged."""
        self._extend_by_whole(table, log_id, log, whole_blocks)
        if len(log.roots) >= whole_blocks:
            return
        rest = Leaves([], [], [])
        for page in self._source.leaves(table, log_id, log.offsets[-1]):
            for ours, theirs in zip(rest, page, strict=True):
                ours += theirs  # type: ignore[operator]
            while len(log.roots) < whole_blocks and rest.indexes[-1:] >= [(len(log.roots) + 1) * BLOCK_LEAVES - 1]:
                _add_block(log, rest, retained)
            if len(log.roots) >= whole_blocks:
                return
        while len(log.roots) < whole_blocks:
            _add_block(log, rest, retained)

    def _extend_by_whole(self, table: str, log_id: str, log: _Log, whole_blocks: int) -> None:
        """Add the roots that the server computes: as far as blocks are whole and their offsets close together."""
        while whole_blocks - len(log.roots) >= _BLOCKS_WORTH_ASKING:
            before = len(log.roots)
            for number, last_offset, root in self._source.block_roots(table, log_id, log.offsets[-1]):
                if number != len(log.roots):
                    break
                log.roots.append(root)
                log.offsets.append(last_offset + 1)
            if len(log.roots) == before:
                return

    def _block(self, table: str, log_id: str, log: _Log, number: int) -> Leaves:
        first = number * BLOCK_LEAVES
        until = log.offsets[number + 1] if number + 1 < len(log.offsets) else None
        page = self._source.leaves_between(table, log_id, log.offsets[number], until, BLOCK_LEAVES)
        at, end = bisect_left(page.indexes, first), bisect_left(page.indexes, first + BLOCK_LEAVES)
        return Leaves(page.offsets[at:end], page.indexes[at:end], page.hashes[at:end])


def _add_block(log: _Log, rest: Leaves, retained: Retained) -> None:
    """Take the next block's leaves from the front of ``rest``."""
    first = len(log.roots) * BLOCK_LEAVES
    count = bisect_left(rest.indexes, first + BLOCK_LEAVES)
    if count == BLOCK_LEAVES and rest.indexes[0] == first:
        root: bytes | None = root_hash(rest.hashes[:count])
    else:
        leaves = dict(zip(rest.indexes[:count], rest.hashes[:count], strict=True))
        root = block_root(first, leaves, retained)
    log.roots.append(root)
    log.offsets.append(rest.offsets[count - 1] + 1 if count else log.offsets[-1])
    for column in rest:
        del column[:count]
