"""Laws of `procurator.sequences`: runs are the set of numbers seen, however they arrive."""

from hypothesis import given
from hypothesis import strategies as st

from procurator.sequences import Runs, missing, observe


@given(st.lists(st.integers(0, 40)))
def test_runs_are_the_set_of_numbers_seen(sequences: list[int]) -> None:
    runs: Runs = []
    seen: set[int] = set()
    for sequence in sequences:
        assert observe(runs, sequence) == (sequence in seen)
        seen.add(sequence)
        assert runs == sorted(set(runs)), "borders ascend and runs never touch"
        assert {n for first, end in zip(runs[::2], runs[1::2], strict=True) for n in range(first, end)} == seen
        assert missing(runs) == max(seen) + 1 - len(seen)


@given(st.permutations(range(12)))
def test_the_order_of_arrival_leaves_no_trace(order: list[int]) -> None:
    runs: Runs = []
    assert not any(observe(runs, sequence) for sequence in order)
    assert runs == [0, 12]
