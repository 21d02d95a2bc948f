"""`procurator.transitions`: the table, pair by pair."""

import itertools

import pytest

from procurator.transitions import (
    OPEN,
    STATUSES,
    TERMINAL,
    TRANSITIONS,
    TRIGGERS,
    Ending,
    next_status,
    prevails,
)


def test_terminal_states_are_final() -> None:
    for status, trigger in itertools.product(TERMINAL, TRIGGERS):
        assert next_status(status, trigger) == status


def test_every_open_status_can_end_in_every_way() -> None:
    for status, ending in itertools.product(OPEN, TERMINAL):
        assert next_status(status, ending) == ending


@pytest.mark.parametrize(
    ("status", "trigger", "expected"),
    [
        ("RUNNING", "approval_requested", "PENDING_APPROVAL"),
        ("RUNNING", "approvals_decided", "RUNNING"),
        ("PENDING_APPROVAL", "approval_requested", "PENDING_APPROVAL"),
        ("PENDING_APPROVAL", "approvals_decided", "RUNNING"),
    ],
)
def test_approvals_pause_and_resume(status: str, trigger: str, expected: str) -> None:
    assert next_status(status, trigger) == expected


def test_the_table_names_nothing_unknown() -> None:
    assert {status for status, _ in TRANSITIONS} | set(TRANSITIONS.values()) <= STATUSES
    assert {trigger for _, trigger in TRANSITIONS} <= TRIGGERS


@pytest.mark.parametrize(
    ("later", "earlier", "expected"),
    [
        (Ending(10, inferred=False), Ending(20, inferred=True), True),
        (Ending(20, inferred=False), Ending(20, inferred=True), True),
        (Ending(30, inferred=False), Ending(20, inferred=True), False),
        (Ending(10, inferred=True), Ending(20, inferred=True), False),
        (Ending(10, inferred=False), Ending(20, inferred=False), False),
        (Ending(10, inferred=True), Ending(20, inferred=False), False),
    ],
)
def test_only_a_stated_end_that_had_occurred_replaces_an_inferred_one(
    later: Ending, earlier: Ending, expected: bool
) -> None:
    assert prevails(later, earlier) is expected
