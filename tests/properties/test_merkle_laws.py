"""Laws of the tree, for trees of any shape: RFC 9162's recursion is the oracle, a mutation is never accepted."""

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from procurator import merkle
from procurator.merkle import Accumulator, ProofError

Draw = Callable[[st.SearchStrategy[Any]], Any]

HASHES = [merkle.leaf_hash(number.to_bytes(4)) for number in range(300)]  # distinct, as a ledger's leaves are
sizes = st.integers(1, len(HASHES))
junk: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.just(HASHES[0]),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)
numbers = junk | st.integers(-2, 2**64) | st.just(10**5000)


def mth(hashes: list[bytes]) -> bytes:
    """RFC 9162, 2.1.1, word for word."""
    if len(hashes) <= 1:
        return hashes[0] if hashes else merkle.EMPTY_ROOT
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return merkle.node_hash(mth(hashes[:k]), mth(hashes[k:]))


def path(m: int, hashes: list[bytes]) -> list[bytes]:
    """RFC 9162, 2.1.3.1."""
    if len(hashes) == 1:
        return []
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return [*path(m, hashes[:k]), mth(hashes[k:])] if m < k else [*path(m - k, hashes[k:]), mth(hashes[:k])]


def subproof(m: int, hashes: list[bytes], whole: bool) -> list[bytes]:
    """RFC 9162, 2.1.4.1."""
    if m == len(hashes):
        return [] if whole else [mth(hashes)]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    if m <= k:
        return [*subproof(m, hashes[:k], whole), mth(hashes[k:])]
    return [*subproof(m - k, hashes[k:], False), mth(hashes[:k])]


def rejects(verify: Any, *arguments: Any) -> bool:
    """Whether it refuses; any error but ProofError goes through and fails the test."""
    try:
        verify(*arguments)
    except ProofError:
        return True
    return False


def changed(draw: Draw, proof: list[bytes]) -> list[bytes]:
    """The proof with one hash flipped, dropped, doubled, moved or added."""
    copy = list(proof)
    how = draw(st.sampled_from(["flip", "drop", "double", "swap", "add"] if copy else ["add"]))
    place = draw(st.integers(0, max(len(copy) - 1, 0)))
    if how == "flip":
        copy[place] = flipped(draw, copy[place])
    elif how == "drop":
        del copy[place]
    elif how == "double":
        copy.insert(place, copy[place])
    elif how == "swap":
        other = draw(st.integers(0, len(copy) - 1))
        copy[place], copy[other] = copy[other], copy[place]
    else:
        copy.insert(draw(st.integers(0, len(copy))), draw(st.sampled_from(HASHES)))
    return copy


def flipped(draw: Draw, data: bytes) -> bytes:
    bit: int = draw(st.integers(0, len(data) * 8 - 1))
    return (int.from_bytes(data) ^ 1 << bit).to_bytes(len(data))


def turns(index: int, size: int) -> list[bool]:
    """On which side each sibling of the path stands: all that an inclusion proof says of index and size."""
    return [start > index for start, _ in merkle.inclusion_ranges(index, size)]


@settings(deadline=None)
@given(st.lists(st.integers(0, 40), max_size=8))
def test_accumulator_is_the_recursion_however_it_is_fed(batches: list[int]) -> None:
    accumulator, size = Accumulator(), 0
    for batch in batches:
        more = HASHES[size : size + batch]
        if batch == 1:
            accumulator.append(more[0])
        else:
            accumulator.extend(more)
        size += len(more)
        assert accumulator.size == size
        assert accumulator.root() == mth(HASHES[:size]) == merkle.root_hash(HASHES[:size])
        assert accumulator.frontier() == [mth(HASHES[a:b]) for a, b in merkle.perfect_ranges(0, size)]
        accumulator = Accumulator.from_frontier(size, accumulator.frontier())


@settings(deadline=None)
@given(sizes, st.data())
def test_proofs_are_the_recursions(size: int, data: st.DataObject) -> None:
    hashes = HASHES[:size]
    index, size1 = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    assert merkle.inclusion_proof(hashes, index) == path(index, hashes)
    assert merkle.consistency_proof(hashes, size1) == subproof(size1, hashes, True)


@settings(deadline=None)
@given(st.integers(0, 2**40), st.integers(0, 2**40))
def test_perfect_ranges_cover_in_order_and_are_perfect(start: int, length: int) -> None:
    at = start
    for first, end in merkle.perfect_ranges(start, start + length):
        width = end - first
        assert first == at
        assert width & (width - 1) == 0
        assert first % width == 0
        at = end
    assert at == start + length


@settings(max_examples=400, deadline=None)
@given(sizes, st.data())
def test_inclusion_holds_and_no_mutation_does(size: int, data: st.DataObject) -> None:
    draw = data.draw
    index = draw(st.integers(0, size - 1))
    leaf, root = HASHES[index], merkle.root_hash(HASHES[:size])
    proof = merkle.inclusion_proof(HASHES[:size], index)
    merkle.verify_inclusion(leaf, index, size, proof, root)

    assert rejects(merkle.verify_inclusion, flipped(draw, leaf), index, size, proof, root)
    assert rejects(merkle.verify_inclusion, leaf, index, size, proof, flipped(draw, root))
    mutated = changed(draw, proof)
    assert mutated == proof or rejects(merkle.verify_inclusion, leaf, index, size, mutated, root)
    other_index = draw(st.integers(0, size + 1))
    assert other_index == index or rejects(merkle.verify_inclusion, leaf, other_index, size, proof, root)
    other_size = draw(st.integers(0, 2 * size))
    same_shape = other_size > index and turns(index, other_size) == turns(index, size)
    assert same_shape != rejects(merkle.verify_inclusion, leaf, index, other_size, proof, root)


@settings(max_examples=400, deadline=None)
@given(sizes, st.data())
def test_any_prefix_is_consistent_and_no_mutation_is(size2: int, data: st.DataObject) -> None:
    draw = data.draw
    size1 = draw(st.integers(1, size2))
    root1, root2 = merkle.root_hash(HASHES[:size1]), merkle.root_hash(HASHES[:size2])
    proof = merkle.consistency_proof(HASHES[:size2], size1)
    merkle.verify_consistency(size1, size2, proof, root1, root2)

    assert rejects(merkle.verify_consistency, size1, size2, proof, flipped(draw, root1), root2)
    assert rejects(merkle.verify_consistency, size1, size2, proof, root1, flipped(draw, root2))
    mutated = changed(draw, proof)
    assert mutated == proof or rejects(merkle.verify_consistency, size1, size2, mutated, root1, root2)
    # A log that changed one entry below size1 cannot extend the old root, whatever proof it makes of itself.
    place = draw(st.integers(0, size1 - 1))
    forged = [*HASHES[:place], flipped(draw, HASHES[place]), *HASHES[place + 1 : size2]]
    own_proof = merkle.consistency_proof(forged, size1)
    assert rejects(merkle.verify_consistency, size1, size2, own_proof, root1, merkle.root_hash(forged))


@settings(max_examples=400, deadline=None)
@given(sizes, st.data())
def test_multiproof_holds_and_no_mutation_does(size: int, data: st.DataObject) -> None:
    draw = data.draw
    indices = sorted(draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=40)))
    leaves, root = [HASHES[index] for index in indices], merkle.root_hash(HASHES[:size])
    proof = merkle.multiproof(HASHES[:size], indices)
    merkle.verify_multiproof(leaves, indices, size, proof, root)
    if len(indices) == 1:
        assert sorted(proof) == sorted(merkle.inclusion_proof(HASHES[:size], indices[0]))

    assert rejects(merkle.verify_multiproof, leaves, indices, size, proof, flipped(draw, root))
    place = draw(st.integers(0, len(leaves) - 1))
    bad_leaves = [*leaves[:place], flipped(draw, leaves[place]), *leaves[place + 1 :]]
    assert rejects(merkle.verify_multiproof, bad_leaves, indices, size, proof, root)
    mutated = changed(draw, proof)
    assert mutated == proof or rejects(merkle.verify_multiproof, leaves, indices, size, mutated, root)
    others = sorted(draw(st.sets(st.integers(0, size), min_size=len(indices), max_size=len(indices))))
    assert others == indices or rejects(merkle.verify_multiproof, leaves, others, size, proof, root)
    assert len(leaves) == 1 or rejects(merkle.verify_multiproof, leaves[:-1], indices[:-1], size, proof, root)


@settings(max_examples=300, deadline=None)
@given(numbers, numbers, junk, junk, junk)
def test_junk_raises_only_proof_error(one: Any, two: Any, proof: Any, first: Any, second: Any) -> None:
    rejects(merkle.verify_inclusion, first, one, two, proof, second)
    rejects(merkle.verify_consistency, one, two, proof, first, second)
    rejects(merkle.verify_multiproof, first, proof, two, second, HASHES[0])
    rejects(merkle.root_hash, first)
    rejects(merkle.inclusion_proof, proof, one)
    rejects(merkle.consistency_proof, proof, one)
    rejects(merkle.multiproof, proof, first)
    rejects(merkle.subtree_root, proof, one, two)
    rejects(merkle.perfect_ranges, one, two)
    rejects(Accumulator.from_frontier, one, proof)
    rejects(Accumulator().append_subtree, one, first)
