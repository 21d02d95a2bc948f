"""Proofs from few hashes: roots of blocks of 1,024 leaves, and the leaves of the two blocks that a proof cuts. Pure.

A range of leaves that a proof is made of (see `procurator.merkle.ranges`) either lies within one block or begins at
one, so its root needs whole blocks and at most the leaves of one more. Ten million leaves are 10,000 block roots.

Of leaves that were purged, the roots of their perfect subtrees were retained. No proof of a leaf that is left needs a
root from within such a subtree: every range of it is a subtree beside the leaf's path, so it holds the whole or none.
"""

from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from types import MappingProxyType

from procurator.merkle import LeafRange, node_hash, root_hash
from procurator.merkle.ranges import split

BLOCK_LEAVES = 1_024

#: (first leaf, end) → the root of these leaves; all within one block, or the tail after the last whole block.
RootWithin = Callable[[int, int], bytes]
#: First leaf → (end, root) of perfect subtrees whose leaves are gone.
Retained = Mapping[int, tuple[int, bytes]]

NOTHING_RETAINED: Retained = MappingProxyType({})


class Gone(LookupError):
    """A leaf is not there, and no retained hash stands for it."""


def range_roots(
    ranges: Iterable[LeafRange],
    blocks: Sequence[bytes | None],
    within: RootWithin,
    known: MutableMapping[LeafRange, bytes],
    retained: Retained = NOTHING_RETAINED,
) -> list[bytes]:
    """Return the root of each range. Raises Gone.

    ``blocks``: the roots of the log's whole blocks, as far as ranges reach; None of one within a retained subtree.
    ``known`` keeps the roots of ranges of blocks, which never change and stand in nearly every proof.
    """
    roots = []
    for start, end in ranges:
        root = known.get((start, end))
        if root is None:
            root = _root(start, end, blocks, within, retained)
            if end - start >= BLOCK_LEAVES:
                known[start, end] = root
        roots.append(root)
    return roots


def _root(start: int, end: int, blocks: Sequence[bytes | None], within: RootWithin, retained: Retained) -> bytes:
    kept = retained.get(start)
    if kept is not None and kept[0] == end:
        return kept[1]
    if end - start < BLOCK_LEAVES:
        return within(start, end)
    whole = end // BLOCK_LEAVES
    roots = [root for root in blocks[start // BLOCK_LEAVES : whole] if root is not None]
    if len(roots) == whole - start // BLOCK_LEAVES:
        if whole * BLOCK_LEAVES < end:
            roots.append(within(whole * BLOCK_LEAVES, end))
        # A partial block at the end is a node without sibling at its level: it moves up as the RFC has it.
        return root_hash(roots)
    if end - start == BLOCK_LEAVES:
        raise Gone(f"leaves {start} to {end - 1}")
    middle = start + split(end - start)
    return node_hash(_root(start, middle, blocks, within, retained), _root(middle, end, blocks, within, retained))


def composed_root(start: int, end: int, leaves: Mapping[int, bytes], retained: Retained) -> bytes:
    """Return the root of leaves [start, end) from those that are there and the retained subtrees. Raises Gone."""
    kept = retained.get(start)
    if kept is not None and kept[0] == end:
        return kept[1]
    if end - start == 1:
        if start not in leaves:
            raise Gone(f"leaf {start}")
        return leaves[start]
    middle = start + split(end - start)
    return node_hash(composed_root(start, middle, leaves, retained), composed_root(middle, end, leaves, retained))


def block_root(start: int, leaves: Mapping[int, bytes], retained: Retained) -> bytes | None:
    """Return the root of the whole block at ``start``, None of one within a retained subtree. Raises Gone."""
    for level in range(BLOCK_LEAVES.bit_length(), 63):
        first = start & -(1 << level)
        if first in retained and retained[first][0] - first == 1 << level:
            return None
    return composed_root(start, start + BLOCK_LEAVES, leaves, retained)
