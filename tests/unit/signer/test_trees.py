"""A log's tree held to what was promised of it, and the state that brings it back."""

from dataclasses import replace

import pytest

from procurator.errors import Fatal
from procurator.signer.policy import SigningPolicy
from procurator.signer.state import LogState, SignerState, parse, render
from procurator.signer.trees import Inconsistent, LogTree, Promise, Record

LOG = "00000000-0000-4000-8000-000000000000:0"
RECORDS = [Record(2 * place, 1_000 * place, b"key", b"value") for place in range(20)]


def tree(count: int) -> LogTree:
    grown = LogTree(LOG, "topic")
    grown.extend(RECORDS[:count])
    return grown


def test_promises_are_kept_wherever_batches_end() -> None:
    for batch in range(1, 21):
        grown = LogTree(LOG, "topic")
        for size in (3, 3, 7, 20):
            grown.promise(Promise(size, tree(size).head.root, "an epoch"))
        for first in range(0, 20, batch):
            grown.extend(RECORDS[first : first + batch])
        assert grown.open_promise is None
        assert grown.head == tree(20).head


def test_a_broken_promise_is_named() -> None:
    grown = LogTree(LOG, "topic")
    grown.promise(Promise(5, bytes(32), "the epoch at leaf 7"))
    grown.extend(RECORDS[:4])
    with pytest.raises(Inconsistent, match=r"the first 5 entries in Kafka have root .* but the epoch at leaf 7 says"):
        grown.extend(RECORDS[4:9])


def test_promises_never_go_back() -> None:
    with pytest.raises(Inconsistent, match="but 10 were signed before"):
        tree(10).promise(Promise(9, tree(9).head.root, "an epoch"))


def test_an_offset_that_comes_again_is_refused() -> None:
    with pytest.raises(Inconsistent, match="gave offset 18 again, 19 was next"):
        tree(10).extend(RECORDS[9:12])


def test_a_state_reads_back_and_goes_on_alike() -> None:
    state = SignerState("origin", {LOG: LogState.of(tree(13))}, LogState.of(tree(5)), b"note", frozenset({1}), ("k",))
    assert parse(render(state), "file") == state
    again = state.logs[LOG].tree(LOG)
    again.extend(RECORDS[13:])
    assert again.head == tree(20).head


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": 2}', '{"version": 1, "origin": 1}'])
def test_a_damaged_state_is_named(text: str) -> None:
    with pytest.raises(Fatal, match="state.json"):
        parse(text, "state.json")


def test_a_root_that_does_not_fit_its_frontier_is_refused() -> None:
    with pytest.raises(Fatal, match="its root does not fit its frontier"):
        replace(LogState.of(tree(13)), root=bytes(32)).tree(LOG)


@pytest.mark.parametrize(
    ("since_s", "news", "due"), [(4.9, True, False), (5, True, True), (59, False, False), (60, False, True)]
)
def test_when_to_sign(since_s: float, news: bool, due: bool) -> None:
    assert SigningPolicy().due(since_s, news) is due
