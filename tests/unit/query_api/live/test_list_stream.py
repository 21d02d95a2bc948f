"""What a list's stream says of a session, whatever its client may hold from elsewhere."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from procurator.access import Scope
from procurator.query_api.live.hub import Hub
from procurator.query_api.live.list_stream import GONE_MAX, ListStream
from procurator.query_api.live.past import ListPast
from procurator.query_api.live.records import STATE, LiveRecord, Shown
from procurator.query_api.live.resume import Seal
from procurator.query_api.live.views import Views
from procurator.query_api.search import parse

Say = Callable[..., str]


@pytest.fixture
def say() -> Say:
    """Publishes a state of a session to a client that has just connected again; returns what it is told."""
    hub = Hub(lambda record: Shown("acme", "payments", b"{}", "", None, states[record.offset]))
    states: list[dict[str, Any]] = []
    stream = ListStream(
        hub,
        cast(ListPast, None),  # the tables and views are not asked for what comes from Kafka
        cast(Views, None),
        Seal("secret"),
        Scope.everywhere(),
        parse("agent:billing status:RUNNING"),
        {"state:0": -1},
    )

    def say(session_id: str, **state: str) -> str:
        states.append({"agent_id": "billing", "status": "RUNNING", **state})
        record = LiveRecord(STATE, 0, "state:0", len(states) - 1, 0, None, b"", session_id)
        told = stream._from_kafka(record)
        return told.partition(b"event: ")[2].partition(b"\n")[0].decode()

    return say


def test_who_may_hold_a_session_is_told_once_that_it_left(say: Say) -> None:
    assert say("from before", status="COMPLETED") == "gone"
    assert say("from before", status="COMPLETED") == ""
    assert [say("a", status=status) for status in ("RUNNING", "RUNNING", "FAILED", "FAILED")] == [
        *("state", "state", "gone", "")
    ]
    assert say("a") == "state"


def test_what_cannot_have_matched_is_not_spoken_of(say: Say) -> None:
    assert say("another's", agent_id="search", status="COMPLETED") == ""


def test_what_is_remembered_is_bounded_and_then_said_again(say: Say) -> None:
    for number in range(GONE_MAX + 1):
        assert say(str(number), status="COMPLETED") == "gone"
    assert (say(str(GONE_MAX), status="COMPLETED"), say("0", status="COMPLETED")) == ("", "gone")
