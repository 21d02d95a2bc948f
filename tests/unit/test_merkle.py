"""The tree against the constants of the transparency-log projects, and every refusal it can make."""

from collections.abc import Callable
from typing import Any

import pytest

from procurator import merkle
from procurator.merkle import Accumulator, ProofError

# Leaves, roots and proofs of Certificate Transparency's reference tree: github.com/google/certificate-transparency,
# cpp/merkletree/merkle_tree_test.cc; the same in github.com/transparency-dev/merkle, testutils and testdata.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
HASHES = [merkle.leaf_hash(leaf) for leaf in LEAVES]
ROOTS = [
    bytes.fromhex(text)
    for text in (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    )
]
NODE = {
    name: bytes.fromhex(text)
    for name, text in {
        "1": "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "2-3": "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "4-7": "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        "4": "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "4-5": "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "6-7": "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "0-3": "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    }.items()
}
NUMBER_TOO_LONG_TO_PRINT = 10**5000
BAD = b"\xee" * 32


def test_hashes_of_leaf_and_node() -> None:
    # transparency-dev/merkle, rfc6962_test.go
    assert merkle.leaf_hash(b"L123456").hex() == "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56"
    assert (
        merkle.node_hash(b"N123", b"N456").hex() == "aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb"
    )


@pytest.mark.parametrize("size", range(9))
def test_roots(size: int) -> None:
    assert merkle.root_hash(HASHES[:size]) == ROOTS[size]
    one_by_one, at_once = Accumulator(), Accumulator()
    for leaf_hash in HASHES[:size]:
        one_by_one.append(leaf_hash)
    at_once.extend(HASHES[:size])
    assert one_by_one.root() == at_once.root() == ROOTS[size]
    assert one_by_one.size == at_once.size == size


@pytest.mark.parametrize(
    ("index", "size", "nodes"),
    [
        (0, 1, ""),
        (0, 8, "1 2-3 4-7"),
        (5, 8, "4 6-7 0-3"),
        (4, 5, "0-3"),
        (2, 3, None),
    ],
)
def test_inclusion_proofs(index: int, size: int, nodes: str | None) -> None:
    proof = merkle.inclusion_proof(HASHES[:size], index)
    assert proof == ([NODE[name] for name in nodes.split()] if nodes is not None else [ROOTS[2]])
    merkle.verify_inclusion(HASHES[index], index, size, proof, ROOTS[size])


@pytest.mark.parametrize(
    ("size1", "size2", "nodes"),
    [(1, 1, ""), (1, 8, "1 2-3 4-7"), (6, 8, "4-5 6-7 0-3"), (2, 5, "2-3 4"), (8, 8, "")],
)
def test_consistency_proofs(size1: int, size2: int, nodes: str) -> None:
    proof = merkle.consistency_proof(HASHES[:size2], size1)
    assert proof == [NODE[name] for name in nodes.split()]
    merkle.verify_consistency(size1, size2, proof, ROOTS[size1], ROOTS[size2])


def test_a_multiproof_holds_only_what_the_leaves_do_not_tell() -> None:
    assert merkle.multiproof(HASHES, [0, 5]) == [NODE["1"], NODE["2-3"], NODE["4"], NODE["6-7"]]
    assert merkle.multiproof(HASHES, [3, 2, 1, 0, 1]) == [NODE["4-7"]]
    assert merkle.multiproof(HASHES, range(8)) == []
    merkle.verify_multiproof(HASHES[:4], [0, 1, 2, 3], 8, [NODE["4-7"]], ROOTS[8])


def test_a_proof_does_not_bind_the_size() -> None:
    """Documented, since it is the property of RFC 6962 that surprises: the size comes from the checkpoint."""
    proof = merkle.inclusion_proof(HASHES[:4], 0)
    merkle.verify_inclusion(HASHES[0], 0, 4, proof, ROOTS[4])
    merkle.verify_inclusion(HASHES[0], 0, 3, proof, ROOTS[4])


def test_what_is_kept_of_a_purged_range_still_grows_the_same_tree() -> None:
    hashes = [merkle.leaf_hash(bytes([number])) for number in range(200)]
    kept = [(start, end, merkle.subtree_root(hashes, start, end)) for start, end in merkle.perfect_ranges(3, 150)]
    accumulator = Accumulator()
    accumulator.extend(hashes[:3])
    for start, end, root in kept:
        assert accumulator.size == start
        accumulator.append_subtree((end - start).bit_length() - 1, root)
    accumulator.extend(hashes[150:])
    assert accumulator.root() == merkle.root_hash(hashes)
    assert [end - start for start, end, _ in kept] == [1, 4, 8, 16, 32, 64, 16, 4, 2]


def test_a_frontier_is_the_whole_state() -> None:
    accumulator = Accumulator()
    accumulator.extend(HASHES[:7])
    assert accumulator.frontier() == [NODE["0-3"], NODE["4-5"], HASHES[6]]
    again = Accumulator.from_frontier(accumulator.size, accumulator.frontier())
    again.append(HASHES[7])
    assert again.root() == ROOTS[8]
    assert Accumulator.from_frontier(0, []).root() == merkle.EMPTY_ROOT


def test_a_refused_append_changes_nothing() -> None:
    accumulator = Accumulator()
    accumulator.extend(HASHES[:7])
    with pytest.raises(ProofError):
        accumulator.append(b"short")
    with pytest.raises(ProofError):
        accumulator.extend([HASHES[7], b"short"])
    with pytest.raises(ProofError):
        accumulator.append_subtree(1, BAD)
    assert (accumulator.size, accumulator.root()) == (7, ROOTS[7])


REFUSALS: list[tuple[Callable[..., Any], tuple[Any, ...], str]] = [
    (merkle.root_hash, ([b"short"],), "leaf hashes must be a list of 32-byte strings"),
    (merkle.root_hash, ("no list",), "leaf hashes must be a list of 32-byte strings"),
    (merkle.inclusion_proof, (HASHES, 8), "leaf index 8 is not in a tree of 8 leaves"),
    (merkle.inclusion_proof, ([], 0), "leaf index 0 is not in a tree of 0 leaves"),
    (merkle.inclusion_proof, (HASHES, -1), "leaf index and tree size must be integers from 0 to 2^63 - 1"),
    (merkle.consistency_proof, (HASHES, 0), "consistency with an empty tree proves nothing"),
    (merkle.consistency_proof, (HASHES, 9), "first tree (9 leaves) is larger than the second (8)"),
    (merkle.multiproof, (HASHES, []), "a multiproof needs at least one index"),
    (merkle.multiproof, (HASHES, [8]), "leaf index 8 is not in a tree of 8 leaves"),
    (merkle.multiproof, (HASHES, [1.5]), "indices must be a list of integers"),
    (merkle.subtree_root, (HASHES, 1, 3), "leaves 1 to 3 are not one perfect subtree"),
    (merkle.subtree_root, (HASHES, 8, 16), "subtree ends at leaf 16, the tree at 8"),
    (merkle.perfect_ranges, (3, 2), "a leaf range needs 0 <= start <= end <= 2^63 - 1"),
    (merkle.verify_inclusion, (HASHES[0], 0, 1, [BAD], ROOTS[1]), "proof has 1 hashes, not 0"),
    (merkle.verify_inclusion, (b"", 0, 1, [], b""), "leaf hash must be 32 bytes"),
    (merkle.verify_inclusion, (BAD, 0, 1, [], ROOTS[1]), "root does not match the proof"),
    (merkle.verify_inclusion, (BAD, 0, 1, None, ROOTS[1]), "proof must be a list of 32-byte strings"),
    (merkle.verify_inclusion, (BAD, True, 1, [], BAD), "leaf index and tree size must be integers from 0 to 2^63 - 1"),
    (
        merkle.verify_inclusion,
        (BAD, 0, NUMBER_TOO_LONG_TO_PRINT, [], BAD),
        "leaf index and tree size must be integers from 0 to 2^63 - 1",
    ),
    (merkle.verify_consistency, (0, 0, [], ROOTS[0], ROOTS[0]), "consistency with an empty tree proves nothing"),
    (merkle.verify_consistency, (0, 8, [], ROOTS[0], ROOTS[8]), "consistency with an empty tree proves nothing"),
    (merkle.verify_consistency, (2, 1, [], BAD, BAD), "first tree (2 leaves) is larger than the second (1)"),
    (merkle.verify_consistency, (2, "3", [], BAD, BAD), "tree sizes must be integers from 0 to 2^63 - 1"),
    (merkle.verify_consistency, (8, 8, [], ROOTS[8], BAD), "two trees of one size have different roots"),
    (merkle.verify_consistency, (8, 8, [BAD], ROOTS[8], ROOTS[8]), "proof has 1 hashes, not 0"),
    (merkle.verify_consistency, (4, 8, [NODE["4-7"]], b"", ROOTS[8]), "first root must be 32 bytes"),
    (merkle.verify_consistency, (4, 8, [NODE["4-7"]], ROOTS[4], BAD), "second root does not match the proof"),
    (merkle.verify_consistency, (3, 4, [*HASHES[2:4], ROOTS[2]], BAD, ROOTS[4]), "first root does not match the proof"),
    (merkle.verify_multiproof, (HASHES[:1], [0, 1], 8, [], BAD), "1 leaf hashes for 2 indices"),
    (merkle.verify_multiproof, (HASHES[:2], [1, 0], 8, [], BAD), "indices must be strictly increasing"),
    (merkle.verify_multiproof, (HASHES[:2], [0, 0], 8, [], BAD), "indices must be strictly increasing"),
    (merkle.verify_multiproof, (HASHES[:4], [0, 1, 2, 3], 8, [BAD], ROOTS[8]), "root does not match the proof"),
    (Accumulator.from_frontier, (3, [BAD]), "frontier of 3 leaves has 2 hashes, not 1"),
    (Accumulator.from_frontier, (-1, []), "tree size must be an integer from 0 to 2^63 - 1"),
    (
        Accumulator.from_frontier(1, [BAD]).append_subtree,
        (NUMBER_TOO_LONG_TO_PRINT, BAD),
        "no subtree of that level can start at leaf 1",
    ),
    (Accumulator.from_frontier(2**63 - 1, [BAD] * 63).append, (BAD,), "tree size would pass 2^63 - 1"),
]


@pytest.mark.parametrize(("call", "arguments", "message"), REFUSALS)
def test_refusals(call: Callable[..., Any], arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ProofError) as caught:
        call(*arguments)
    assert str(caught.value) == message
