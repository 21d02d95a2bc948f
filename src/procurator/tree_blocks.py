"""Proofs from few hashes: roots of blocks of 1,024 leaves, and the leaves of the two blocks that a proof cuts. Pure.

A range of leaves that a proof is made of (see `procurator.merkle.ranges`) either lies within one block or begins at
one, so its root needs whole blocks and at most the leaves of one more. Ten million leaves are 10,000 block roots.
"""

from collections.abc import Callable, Iterable, MutableMapping, Sequence

from procurator.merkle import LeafRange, root_hash

BLOCK_LEAVES = 1_024

#: (first leaf, end) → their hashes; both within one block, or the tail after the last whole block.
ReadLeaves = Callable[[int, int], list[bytes]]


def range_roots(
    ranges: Iterable[LeafRange], blocks: Sequence[bytes], read: ReadLeaves, known: MutableMapping[LeafRange, bytes]
) -> list[bytes]:
    """Return the root of each range. ``blocks``: the roots of the log's whole blocks, as far as ranges reach.

    ``known`` keeps the roots of ranges of blocks, which never change and stand in nearly every proof.
    """
    roots = []
    for start, end in ranges:
        root = known.get((start, end))
        if root is None:
            root = _root(start, end, blocks, read)
            if end - start >= BLOCK_LEAVES:
                known[start, end] = root
        roots.append(root)
    return roots


def _root(start: int, end: int, blocks: Sequence[bytes], read: ReadLeaves) -> bytes:
    if end - start < BLOCK_LEAVES:
        return root_hash(read(start, end))
    whole = end // BLOCK_LEAVES
    roots = list(blocks[start // BLOCK_LEAVES : whole])
    if whole * BLOCK_LEAVES < end:
        roots.append(root_hash(read(whole * BLOCK_LEAVES, end)))
    # A partial block at the end is a node without sibling at its level: it moves up as the RFC has it.
    return root_hash(roots)
