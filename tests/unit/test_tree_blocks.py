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
    root_hash,
)
from procurator.tree_blocks import BLOCK_LEAVES, range_roots

LEAVES = [sha256(number.to_bytes(4, "big")).digest() for number in range(5 * BLOCK_LEAVES + 7)]
SIZES = (1, 2, 1023, 1024, 1025, 2047, 2048, 2049, 3 * 1024, 4 * 1024 + 1, len(LEAVES))


@pytest.mark.parametrize("size", SIZES)
def test_block_proofs_are_the_proofs_of_all_leaves(size: int) -> None:
    leaves, rng = LEAVES[:size], random.Random(size)
    blocks = [root_hash(leaves[at : at + BLOCK_LEAVES]) for at in range(0, size - BLOCK_LEAVES + 1, BLOCK_LEAVES)]
    known: dict[LeafRange, bytes] = {}

    def read(start: int, end: int) -> list[bytes]:
        assert start // BLOCK_LEAVES == (end - 1) // BLOCK_LEAVES, "more than one block was read"
        return leaves[start:end]

    def roots(ranges: list[LeafRange]) -> list[bytes]:
        return range_roots(ranges, blocks, read, known)

    for index in {0, size - 1, *(rng.randrange(size) for _ in range(20))}:
        assert roots(inclusion_ranges(index, size)) == inclusion_proof(leaves, index)
        assert roots(consistency_ranges(index + 1, size)) == consistency_proof(leaves, index + 1)
    some = sorted(rng.sample(range(size), min(size, 9)))
    assert roots(multiproof_ranges(some, size)) == multiproof(leaves, some)
