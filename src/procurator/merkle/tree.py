"""Leaves, nodes, roots, and the accumulator that grows a tree in O(log n) memory."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Self

from procurator.merkle.arguments import SIZE_MAX, ProofError, check_hash, check_hashes, is_size
from procurator.merkle.ranges import perfect_ranges

EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """RFC 6962 hash of one entry."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 6962 hash of an inner node."""
    return sha256(b"\x01" + left + right).digest()


def root_hash(leaf_hashes: Sequence[bytes]) -> bytes:
    """The Merkle tree head of all the leaves; ``EMPTY_ROOT`` of none."""
    return computed_root(check_hashes("leaf hashes", leaf_hashes))


def subtree_root(leaf_hashes: Sequence[bytes], start: int, end: int) -> bytes:
    """The root over leaves ``[start, end)``, which must be one perfect subtree (see ``perfect_ranges``)."""
    hashes = check_hashes("leaf hashes", leaf_hashes)
    if perfect_ranges(start, end) != [(start, end)]:
        raise ProofError(f"leaves {start} to {end} are not one perfect subtree")
    if end > len(hashes):
        raise ProofError(f"subtree ends at leaf {end}, the tree at {len(hashes)}")
    return computed_root(hashes[start:end])


class Accumulator:
    """A growing tree in O(log n) memory: only the roots of its perfect subtrees are kept.

    ``frontier()`` and ``from_frontier()`` store it and bring it back. A refused call changes nothing.
    """

    __slots__ = ("_nodes", "_size")

    def __init__(self) -> None:
        self._nodes: list[bytes | None] = []  # by level: the perfect subtree of 2^level leaves, where size has a bit
        self._size = 0

    @classmethod
    def from_frontier(cls, size: int, hashes: Sequence[bytes]) -> Self:
        """The accumulator whose ``size`` and ``frontier()`` were these."""
        if not is_size(size):
            raise ProofError("tree size must be an integer from 0 to 2^63 - 1")
        nodes = check_hashes("frontier", hashes)
        if len(nodes) != size.bit_count():
            raise ProofError(f"frontier of {size} leaves has {size.bit_count()} hashes, not {len(nodes)}")
        smallest_first = reversed(nodes)
        self = cls()
        self._size = size
        self._nodes = [next(smallest_first) if size >> level & 1 else None for level in range(size.bit_length())]
        return self

    @property
    def size(self) -> int:
        """How many leaves the tree has."""
        return self._size

    def frontier(self) -> list[bytes]:
        """The roots of ``perfect_ranges(0, size)``, largest (leftmost) first: one for each bit set in size."""
        return [node for node in reversed(self._nodes) if node is not None]

    def root(self) -> bytes:
        """The Merkle tree head of the leaves so far; ``EMPTY_ROOT`` of none."""
        root: bytes | None = None
        for node in self._nodes:
            if node is not None:
                root = node if root is None else node_hash(node, root)
        return EMPTY_ROOT if root is None else root

    def append(self, leaf_hash: bytes) -> None:
        """Adds one leaf."""
        self._add(0, [check_hash("leaf hash", leaf_hash)])

    def extend(self, leaf_hashes: Sequence[bytes]) -> None:
        """Adds many leaves at once, a level at a time: many times the speed of ``append``."""
        self._add(0, check_hashes("leaf hashes", leaf_hashes))

    def append_subtree(self, level: int, root: bytes) -> None:
        """Adds the 2^level leaves under ``root`` at once; the tree's size must be a multiple of that."""
        if not is_size(level) or level > 62 or self._size & ((1 << level) - 1):
            raise ProofError(f"no subtree of that level can start at leaf {self._size}")
        self._add(level, [check_hash("subtree root", root)])

    def _add(self, level: int, carry: list[bytes]) -> None:
        size = self._size + (len(carry) << level)
        if size > SIZE_MAX:
            raise ProofError("tree size would pass 2^63 - 1")
        while carry:
            if level >= len(self._nodes):
                self._nodes.extend([None] * (level + 1 - len(self._nodes)))
            waiting = self._nodes[level]
            if waiting is not None:
                carry = [waiting, *carry]
            self._nodes[level] = carry[-1] if len(carry) % 2 else None
            carry = pair(carry)
            level += 1
        self._size = size


def computed_root(level: list[bytes]) -> bytes:
    """``root_hash`` of hashes that were checked before."""
    while len(level) > 1:
        above = pair(level)
        if len(level) % 2:
            above.append(level[-1])  # a node without a sibling moves up unchanged: the RFC's recursion from below
        level = above
    return level[0] if level else EMPTY_ROOT


def pair(nodes: list[bytes]) -> list[bytes]:
    """The parents of neighbours; an odd last node is left out. The hot loop, hence no call of node_hash."""
    return [sha256(b"\x01" + left + right).digest() for left, right in zip(nodes[::2], nodes[1::2], strict=False)]
