"""Proofs from block roots are those that all the leaves give."""

import random
from hashlib import sha256

import pytest

from procurator.merkle import (
    LeafRange,
    consistency_proof,
    consistency_ranges,
    inclusion_proof,
    inclusion_ranges,
    multiproof,
    multiproof_ranges,
    perfect_ranges,
    root_hash,
)
from procurator.tree_blocks import BLOCK_LEAVES, Gone, block_root, composed_root, range_roots

LEAVES = [sha256(number.to_bytes(4, "big")).digest() for number in range(5 * BLOCK_LEAVES + 7)]
SIZES = (1, 2, 1023, 1024, 1025, 2047, 2048, 2049, 3 * 1024, 4 * 1024 + 1, len(LEAVES))


@pytest.mark.parametrize("size", SIZES)
def test_block_proofs_are_the_proofs_of_all_leaves(size: int) -> None:
    leaves, rng = LEAVES[:size], random.Random(size)
    blocks = [root_hash(leaves[at : at + BLOCK_LEAVES]) for at in range(0, size - BLOCK_LEAVES + 1, BLOCK_LEAVES)]
    known: dict[LeafRange, bytes] = {}

    def within(start: int, end: int) -> bytes:
        assert start // BLOCK_LEAVES == (end - 1) // BLOCK_LEAVES, "more than one block was read"
        return root_hash(leaves[start:end])

    def roots(ranges: list[LeafRange]) -> list[bytes]:
        return range_roots(ranges, blocks, within, known)

    for index in {0, size - 1, *(rng.randrange(size) for _ in range(20))}:
        assert roots(inclusion_ranges(index, size)) == inclusion_proof(leaves, index)
        assert roots(consistency_ranges(index + 1, size)) == consistency_proof(leaves, index + 1)
    some = sorted(rng.sample(range(size), min(size, 9)))
    assert roots(multiproof_ranges(some, size)) == multiproof(leaves, some)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_left_after_purges_is_proved_as_before(seed: int) -> None:
    rng, size = random.Random(seed), len(LEAVES)
    cuts = sorted(rng.sample(range(size), 12))
    purged = list(zip(cuts[::2], cuts[1::2], strict=True))
    nodes = [node for first, end in purged for node in perfect_ranges(first, end)]
    retained = {start: (end, root_hash(LEAVES[start:end])) for start, end in nodes}
    gone = {index for first, end in purged for index in range(first, end)}
    left = {index: leaf for index, leaf in enumerate(LEAVES) if index not in gone}
    starts = range(0, size - BLOCK_LEAVES + 1, BLOCK_LEAVES)
    blocks = [block_root(start, left, retained) for start in starts]

    def roots(ranges: list[LeafRange]) -> list[bytes]:
        return range_roots(ranges, blocks, lambda start, end: composed_root(start, end, left, retained), {}, retained)

    for index in rng.sample(sorted(left), 30):
        assert roots(inclusion_ranges(index, size)) == inclusion_proof(LEAVES, index)
    some = sorted(rng.sample(sorted(left), 9))
    assert roots(multiproof_ranges(some, size)) == multiproof(LEAVES, some)


def test_a_leaf_that_is_neither_there_nor_purged_is_told() -> None:
    leaves = dict(enumerate(LEAVES[:BLOCK_LEAVES]))
    del leaves[7]
    with pytest.raises(Gone, match="leaf 7"):
        block_root(0, leaves, {})
