"""Decisions about a log's head."""

import pytest

from procurator.errors import Fatal
from procurator.merkle import root_hash
from procurator.sink.ledger import (
    DAY_US,
    NO_TAIL,
    Gap,
    Head,
    Tail,
    checked_chain,
    gap_before,
    landed,
    same_day,
)

LOG = "0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d:3"
LEAVES = [bytes([n]) * 32 for n in range(7)]


def test_a_token_names_the_log_and_the_first_offset_never_the_last() -> None:
    head = Head(LOG).extended(LEAVES[:3], 3)
    assert head.token == f"{LOG}@3"
    assert head.extended(LEAVES[3:5], 5).token == head.extended(LEAVES[3:4], 4).token.replace("@4", "@5")


def test_a_head_grows_as_the_tree_does() -> None:
    head = Head(LOG).extended(LEAVES[:3], 10).extended(LEAVES[3:], 17)
    assert (head.size, head.next_offset, head.root) == (7, 17, root_hash(LEAVES))


def test_a_head_cannot_end_before_its_entries() -> None:
    with pytest.raises(ValueError, match="2 entries from offset 3 cannot end at 4"):
        Head(LOG, 3).extended(LEAVES[:2], 4)


def test_a_block_has_landed_when_the_ledger_ends_with_it() -> None:
    after = Head(LOG).extended(LEAVES[:3], 3)
    assert landed(after, LEAVES[2], 3, Tail(3, 3, 3, LEAVES[2]))
    assert not landed(after, LEAVES[2], 3, NO_TAIL), "dropped"
    assert not landed(after, LEAVES[2], 3, Tail(2, 2, 2, LEAVES[1])), "another's shorter block was first"
    assert not landed(after, LEAVES[2], 3, Tail(5, 5, 5, LEAVES[4])), "another went on after it"
    assert not landed(after, LEAVES[2], 3, Tail(3, 3, 3, LEAVES[3])), "other leaves"


def test_entries_after_the_head_are_taken_if_they_are_a_chain() -> None:
    entries = [(4, 0, LEAVES[0]), (5, 1, LEAVES[1]), (9, 2, LEAVES[2])]
    head = checked_chain(Head(LOG, 4), entries)
    assert (head.next_offset, head.size, head.root) == (10, 3, root_hash(LEAVES[:3]))


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param([(4, 0, LEAVES[0]), (4, 1, LEAVES[0])], id="an offset twice"),
        pytest.param([(4, 0, LEAVES[0]), (5, 2, LEAVES[2])], id="a leaf missing"),
        pytest.param([(3, 0, LEAVES[0])], id="before the head"),
    ],
)
def test_a_broken_chain_stops_the_sink(entries: list[tuple[int, int, bytes]]) -> None:
    with pytest.raises(Fatal, match="was changed from outside"):
        checked_chain(Head(LOG, 4), entries)


def test_a_log_that_starts_above_the_head_is_a_gap() -> None:
    assert gap_before(Head(LOG, 4), log_start=9, log_end=12) == Gap(LOG, 4, 9)
    assert gap_before(Head(LOG, 4), log_start=9, log_end=9) == Gap(LOG, 4, 9)
    assert gap_before(Head(LOG, 9), log_start=9, log_end=12) is None
    assert gap_before(Head(LOG, 12), log_start=9, log_end=12) is None


def test_a_log_that_ends_below_the_head_stops_the_sink() -> None:
    with pytest.raises(Fatal, match="Kafka ends at offset 12, the ledger at 13"):
        gap_before(Head(LOG, 13), log_start=0, log_end=12)


def test_a_block_ends_at_midnight_of_broker_time() -> None:
    midnight = 20_000 * DAY_US
    assert same_day([]) == 0
    assert same_day([midnight - 2, midnight - 1, midnight, midnight + 1]) == 2
    assert same_day([midnight, midnight + DAY_US - 1]) == 2
    assert same_day([midnight, midnight - 1, midnight]) == 1, "broker time may step back"
