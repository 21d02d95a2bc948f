"""Merkle trees over SHA-256 as RFC 6962 (section 2.1) and RFC 9162 define them. Pure and public.

A tree is a sequence of *leaf hashes* (32 bytes each); callers hash their entries first (``leaf_hash``)::

    leaf = SHA-256(0x00 || data)      node = SHA-256(0x01 || left || right)      empty tree = SHA-256("")

Errors: ``ProofError`` and nothing else, whatever is passed in (``leaf_hash`` and ``node_hash``, which hash any
bytes, excepted). A ``verify_*`` that returns has verified.

A proof does not bind the size: one root can verify under two claimed sizes of the same shape (leaf 0 in 3 or
in 4 leaves). Take size and root from one *signed* checkpoint, never from whoever brings the proof.
"""

from procurator.merkle.arguments import HASH_BYTES, SIZE_MAX, ProofError
from procurator.merkle.proofs import (
    consistency_proof,
    inclusion_proof,
    multiproof,
    verify_consistency,
    verify_inclusion,
    verify_multiproof,
)
from procurator.merkle.ranges import (
    LeafRange,
    consistency_ranges,
    inclusion_ranges,
    multiproof_ranges,
    perfect_ranges,
)
from procurator.merkle.tree import EMPTY_ROOT, Accumulator, leaf_hash, node_hash, root_hash, subtree_root

__all__ = [
    "EMPTY_ROOT",
    "HASH_BYTES",
    "SIZE_MAX",
    "Accumulator",
    "LeafRange",
    "ProofError",
    "consistency_proof",
    "consistency_ranges",
    "inclusion_proof",
    "inclusion_ranges",
    "leaf_hash",
    "multiproof",
    "multiproof_ranges",
    "node_hash",
    "perfect_ranges",
    "root_hash",
    "subtree_root",
    "verify_consistency",
    "verify_inclusion",
    "verify_multiproof",
]
