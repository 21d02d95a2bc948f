"""Proofs: made from all the leaf hashes, verified from none of them."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from procurator.merkle.arguments import (
    ProofError,
    check_hash,
    check_hashes,
    check_index,
    check_indices,
    check_ints,
    check_match,
    check_proof,
    check_sizes,
)
from procurator.merkle.ranges import consistency_ranges, inclusion_ranges, multiproof_ranges, split
from procurator.merkle.tree import computed_root, node_hash


def inclusion_proof(leaf_hashes: Sequence[bytes], index: int) -> list[bytes]:
    """The audit path of leaf ``index``, from the leaf upwards (RFC 9162, 2.1.3.1)."""
    hashes = check_hashes("leaf hashes", leaf_hashes)
    return [computed_root(hashes[start:end]) for start, end in inclusion_ranges(index, len(hashes))]


def consistency_proof(leaf_hashes: Sequence[bytes], size1: int) -> list[bytes]:
    """That the first ``size1`` leaves are a prefix of all (RFC 9162, 2.1.4.1). Empty when they are all."""
    hashes = check_hashes("leaf hashes", leaf_hashes)
    return [computed_root(hashes[start:end]) for start, end in consistency_ranges(size1, len(hashes))]


def multiproof(leaf_hashes: Sequence[bytes], indices: Iterable[int]) -> list[bytes]:
    """One proof for a set of leaves: the roots of the largest subtrees free of them, from left to right."""
    hashes = check_hashes("leaf hashes", leaf_hashes)
    return [computed_root(hashes[start:end]) for start, end in multiproof_ranges(indices, len(hashes))]


def verify_inclusion(leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Returns when ``leaf_hash`` is leaf ``index`` of the tree of that size and root (RFC 9162, 2.1.3.2)."""
    check_index(index, size)
    computed = check_hash("leaf hash", leaf_hash)
    path = check_proof(proof, len(inclusion_ranges(index, size)))
    node, last = index, size - 1
    for sibling in path:
        if node & 1 or node == last:
            computed = node_hash(sibling, computed)
            while node and not node & 1:  # levels where a right edge without sibling just moved up
                node, last = node >> 1, last >> 1
        else:
            computed = node_hash(computed, sibling)
        node, last = node >> 1, last >> 1
    check_match("root", computed, root)


def verify_consistency(size1: int, size2: int, proof: Sequence[bytes], root1: bytes, root2: bytes) -> None:
    """Returns when the tree of ``size1`` leaves is a prefix of the tree of ``size2`` (RFC 9162, 2.1.4.2).

    Equal sizes need equal roots and an empty proof; ``size1 = 0`` is refused (see ``consistency_ranges``).
    """
    check_sizes(size1, size2)
    path = check_proof(proof, len(consistency_ranges(size1, size2)))
    if size1 == size2:
        if type(root1) is not bytes or type(root2) is not bytes or root1 != root2:
            raise ProofError("two trees of one size have different roots")
        return
    if size1 & (size1 - 1) == 0:
        path = [check_hash("first root", root1), *path]
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
    check_match("first root", old, root1)
    check_match("second root", new, root2)


def verify_multiproof(
    leaf_hashes: Sequence[bytes], indices: Sequence[int], size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Returns when each ``leaf_hashes[i]`` is leaf ``indices[i]`` of the tree of that size and root.

    ``indices`` must be strictly increasing, so that one set of leaves has one proof.
    """
    wanted = check_ints("indices", indices)
    check_indices(wanted, size)
    leaves = check_hashes("leaf hashes", leaf_hashes)
    if len(leaves) != len(wanted):
        raise ProofError(f"{len(leaves)} leaf hashes for {len(wanted)} indices")
    nodes = iter(check_proof(proof, len(multiproof_ranges(wanted, size))))

    def compute(start: int, end: int, first: int, last: int) -> bytes:
        if first == last:
            return next(nodes)  # cannot run out: the proof's length was checked
        if last - first == end - start:
            return computed_root(leaves[first:last])
        middle = start + split(end - start)
        cut = bisect_left(wanted, middle, first, last)
        return node_hash(compute(start, middle, first, cut), compute(middle, end, cut, last))

    check_match("root", compute(0, size, 0, len(wanted)), root)
