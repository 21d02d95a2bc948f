"""Merkle trees over SHA-256 as RFC 6962 (section 2.1) and RFC 9162 define them. Pure.

A tree is a sequence of *leaf hashes* (32 bytes each); callers hash their entries first (``leaf_hash``)::

    leaf = SHA-256(0x00 || data)      node = SHA-256(0x01 || left || right)      empty tree = SHA-256("")

A range of ``n > 1`` leaves splits after the largest power of two below ``n``. Every proof here is a list of
roots of leaf ranges, and ``*_ranges`` name those ranges: whoever keeps subtree roots can answer from them.

Errors: ``ProofError`` and nothing else, whatever is passed in.

A proof does not bind the size: one root can verify under two claimed sizes of the same shape (leaf 0 in 3 or
in 4 leaves). Take size and root from one *signed* checkpoint, never from whoever brings the proof.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from hashlib import sha256
from itertools import pairwise
from typing import Any, Self

from procurator.errors import ProcuratorError

HASH_BYTES = 32
SIZE_MAX = 2**63 - 1  # Kafka offsets are int64, so no log can hold more entries
EMPTY_ROOT = sha256(b"").digest()

LeafRange = tuple[int, int]  # [start, end)


class ProofError(ProcuratorError):
    """A proof, frontier or tree argument that is malformed or does not verify. Nothing was changed."""


def leaf_hash(data: bytes) -> bytes:
    """RFC 6962 hash of one entry."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 6962 hash of an inner node."""
    return sha256(b"\x01" + left + right).digest()


def root_hash(leaf_hashes: Sequence[bytes]) -> bytes:
    """The Merkle tree head of all the leaves; ``EMPTY_ROOT`` of none."""
    level = _hashes("leaf hashes", leaf_hashes)
    if not level:
        return EMPTY_ROOT
    while len(level) > 1:
        above = _pair(level)
        if len(level) % 2:
            above.append(level[-1])  # a node without a sibling moves up unchanged: the RFC's recursion from below
        level = above
    return level[0]


def inclusion_proof(leaf_hashes: Sequence[bytes], index: int) -> list[bytes]:
    """The audit path of leaf ``index``, from the leaf upwards (RFC 9162, 2.1.3.1)."""
    hashes = _hashes("leaf hashes", leaf_hashes)
    return [_root(hashes[start:end]) for start, end in inclusion_ranges(index, len(hashes))]


def consistency_proof(leaf_hashes: Sequence[bytes], size1: int) -> list[bytes]:
    """That the first ``size1`` leaves are a prefix of all (RFC 9162, 2.1.4.1). Empty when they are all."""
    hashes = _hashes("leaf hashes", leaf_hashes)
    return [_root(hashes[start:end]) for start, end in consistency_ranges(size1, len(hashes))]


def multiproof(leaf_hashes: Sequence[bytes], indices: Iterable[int]) -> list[bytes]:
    """One proof for a set of leaves: the roots of the largest subtrees free of them, from left to right."""
    hashes = _hashes("leaf hashes", leaf_hashes)
    return [_root(hashes[start:end]) for start, end in multiproof_ranges(indices, len(hashes))]


def inclusion_ranges(index: int, size: int) -> list[LeafRange]:
    """The leaf ranges whose roots make the inclusion proof of ``index``, in the proof's order."""
    _check_index(index, size)
    ranges = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    return ranges[::-1]


def consistency_ranges(size1: int, size2: int) -> list[LeafRange]:
    """The leaf ranges whose roots make the consistency proof of two sizes, in the proof's order.

    ``size1 = 0`` is refused, as by RFC 9162 (0 < m) and transparency-dev/merkle: every tree extends the empty
    one, so that such a proof would say nothing.
    """
    _check_sizes(size1, size2)
    ranges = []
    start, end = 0, size2
    while end != size1:
        middle = start + _split(end - start)
        if size1 <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    if start > 0:  # else the last range is the whole old tree, whose root the verifier has
        ranges.append((start, end))
    return ranges[::-1]


def multiproof_ranges(indices: Iterable[int], size: int) -> list[LeafRange]:
    """The leaf ranges whose roots make the multiproof of ``indices`` (at least one; in any order)."""
    wanted = sorted(set(_ints("indices", indices)))
    _check_indices(wanted, size)
    ranges: list[LeafRange] = []

    def visit(start: int, end: int, first: int, last: int) -> None:
        if first == last:
            ranges.append((start, end))
        elif last - first < end - start:
            middle = start + _split(end - start)
            cut = bisect_left(wanted, middle, first, last)
            visit(start, middle, first, cut)
            visit(middle, end, cut, last)

    visit(0, size, 0, len(wanted))
    return ranges


def perfect_ranges(start: int, end: int) -> list[LeafRange]:
    """The fewest perfect subtrees (2^k leaves, aligned to 2^k) that cover ``[start, end)``, left to right.

    Their roots are what must be kept of a range that is purged: ``Accumulator.append_subtree`` takes them in
    place of the leaves. At most ``2 * log2(end)`` of them.
    """
    if not _is_size(start) or not _is_size(end) or start > end:
        raise ProofError("a leaf range needs 0 <= start <= end <= 2^63 - 1")
    ranges = []
    while start < end:
        fits = (end - start).bit_length() - 1
        aligned = (start & -start).bit_length() - 1 if start else fits
        width = 1 << min(fits, aligned)
        ranges.append((start, start + width))
        start += width
    return ranges


def subtree_root(leaf_hashes: Sequence[bytes], start: int, end: int) -> bytes:
    """The root over leaves ``[start, end)``, which must be one perfect subtree (see ``perfect_ranges``)."""
    hashes = _hashes("leaf hashes", leaf_hashes)
    if perfect_ranges(start, end) != [(start, end)]:
        raise ProofError(f"leaves {start} to {end} are not one perfect subtree")
    if end > len(hashes):
        raise ProofError(f"subtree ends at leaf {end}, the tree at {len(hashes)}")
    return _root(hashes[start:end])


def verify_inclusion(leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Returns when ``leaf_hash`` is leaf ``index`` of the tree of that size and root (RFC 9162, 2.1.3.2)."""
    _check_index(index, size)
    computed = _hash("leaf hash", leaf_hash)
    path = _proof(proof, len(inclusion_ranges(index, size)))
    node, last = index, size - 1
    for sibling in path:
        if node & 1 or node == last:
            computed = node_hash(sibling, computed)
            while node and not node & 1:  # levels where a right edge without sibling just moved up
                node, last = node >> 1, last >> 1
        else:
            computed = node_hash(computed, sibling)
        node, last = node >> 1, last >> 1
    _match("root", computed, root)


def verify_consistency(size1: int, size2: int, proof: Sequence[bytes], root1: bytes, root2: bytes) -> None:
    """Returns when the tree of ``size1`` leaves is a prefix of the tree of ``size2`` (RFC 9162, 2.1.4.2).

    Equal sizes need equal roots and an empty proof; ``size1 = 0`` is refused (see ``consistency_ranges``).
    """
    _check_sizes(size1, size2)
    path = _proof(proof, len(consistency_ranges(size1, size2)))
    if size1 == size2:
        if type(root1) is not bytes or type(root2) is not bytes or root1 != root2:
            raise ProofError("two trees of one size have different roots")
        return
    if size1 & (size1 - 1) == 0:
        path = [_hash("first root", root1), *path]
    node, last = size1 - 1, size2 - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    _match("first root", old, root1)
    _match("second root", new, root2)


def verify_multiproof(
    leaf_hashes: Sequence[bytes], indices: Sequence[int], size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Returns when each ``leaf_hashes[i]`` is leaf ``indices[i]`` of the tree of that size and root.

    ``indices`` must be strictly increasing, so that one set of leaves has one proof.
    """
    wanted = _ints("indices", indices)
    _check_indices(wanted, size)
    leaves = _hashes("leaf hashes", leaf_hashes)
    if len(leaves) != len(wanted):
        raise ProofError(f"{len(leaves)} leaf hashes for {len(wanted)} indices")
    nodes = iter(_proof(proof, len(multiproof_ranges(wanted, size))))

    def compute(start: int, end: int, first: int, last: int) -> bytes:
        if first == last:
            return next(nodes)  # cannot run out: the proof's length was checked
        if last - first == end - start:
            return _root(leaves[first:last])
        middle = start + _split(end - start)
        cut = bisect_left(wanted, middle, first, last)
        return node_hash(compute(start, middle, first, cut), compute(middle, end, cut, last))

    _match("root", compute(0, size, 0, len(wanted)), root)


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
        if not _is_size(size):
            raise ProofError("tree size must be an integer from 0 to 2^63 - 1")
        nodes = _hashes("frontier", hashes)
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
        self._add(0, [_hash("leaf hash", leaf_hash)])

    def extend(self, leaf_hashes: Sequence[bytes]) -> None:
        """Adds many leaves at once, a level at a time: many times the speed of ``append``."""
        self._add(0, _hashes("leaf hashes", leaf_hashes))

    def append_subtree(self, level: int, root: bytes) -> None:
        """Adds the 2^level leaves under ``root`` at once; the tree's size must be a multiple of that."""
        if not _is_size(level) or level > 62 or self._size & ((1 << level) - 1):
            raise ProofError(f"no subtree of that level can start at leaf {self._size}")
        self._add(level, [_hash("subtree root", root)])

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
            carry = _pair(carry)
            level += 1
        self._size = size


def _pair(nodes: list[bytes]) -> list[bytes]:
    """The parents of neighbours; an odd last node is left out. The hot loop, hence no call of node_hash."""
    return [sha256(b"\x01" + left + right).digest() for left, right in zip(nodes[::2], nodes[1::2], strict=False)]


def _root(level: list[bytes]) -> bytes:
    while len(level) > 1:
        above = _pair(level)
        if len(level) % 2:
            above.append(level[-1])  # a node without a sibling moves up unchanged: the RFC's recursion from below
        level = above
    return level[0] if level else EMPTY_ROOT


def _split(width: int) -> int:
    """The largest power of two below ``width`` (RFC 9162, 2.1.1)."""
    return 1 << (width - 1).bit_length() - 1


# Arguments come from files and strangers. Exact types, since a subclass may do anything when it is compared;
# numbers are judged before they are printed, since Python refuses to print one of 5,000 digits.


def _is_size(value: object) -> bool:
    return type(value) is int and 0 <= value <= SIZE_MAX


def _check_index(index: int, size: int) -> None:
    if not _is_size(index) or not _is_size(size):
        raise ProofError("leaf index and tree size must be integers from 0 to 2^63 - 1")
    if index >= size:
        raise ProofError(f"leaf index {index} is not in a tree of {size} leaves")


def _check_indices(indices: list[int], size: int) -> None:
    if not indices:
        raise ProofError("a multiproof needs at least one index")
    for index in indices:
        _check_index(index, size)
    if any(left >= right for left, right in pairwise(indices)):
        raise ProofError("indices must be strictly increasing")


def _check_sizes(size1: int, size2: int) -> None:
    if not _is_size(size1) or not _is_size(size2):
        raise ProofError("tree sizes must be integers from 0 to 2^63 - 1")
    if size1 == 0:
        raise ProofError("consistency with an empty tree proves nothing")
    if size1 > size2:
        raise ProofError(f"first tree ({size1} leaves) is larger than the second ({size2})")


def _ints(what: str, value: Any) -> list[int]:
    if type(value) not in (list, tuple, set, frozenset, range) or set(map(type, value)) - {int}:
        raise ProofError(f"{what} must be a list of integers")
    return list(value)


def _hashes(what: str, value: Any) -> list[bytes]:
    if type(value) not in (list, tuple) or set(map(type, value)) - {bytes} or set(map(len, value)) - {HASH_BYTES}:
        raise ProofError(f"{what} must be a list of {HASH_BYTES}-byte strings")
    return value if type(value) is list else list(value)


def _hash(what: str, value: Any) -> bytes:
    if type(value) is not bytes or len(value) != HASH_BYTES:
        raise ProofError(f"{what} must be {HASH_BYTES} bytes")
    return value


def _proof(value: object, length: int) -> list[bytes]:
    path = _hashes("proof", value)
    if len(path) != length:
        raise ProofError(f"proof has {len(path)} hashes, not {length}")
    return path


def _match(what: str, computed: bytes, claimed: object) -> None:
    if type(claimed) is not bytes or claimed != computed:
        raise ProofError(f"{what} does not match the proof")
