"""What listeners are shown of a record, and that none can be written that breaks their streams."""

import logging
from typing import Any, cast

import orjson
import pytest

from procurator.access import Scope
from procurator.avro_schemas.codec import load_schema
from procurator.query_api.live.hub import Hub
from procurator.query_api.live.records import DELTA, STATE, LiveRecord
from procurator.query_api.live.views import Views
from procurator.registry import Registry
from procurator.session_state import SessionState

ID = "0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d"
NOW_US = 1_790_000_000_000_000
#: µs of the first moment that `datetime` does not know.
YEAR_10000_US = 253_402_300_800_000_000
SCHEMAS = {1: load_schema("turn_delta"), 2: load_schema("session_state")}


class Schemas:
    def fetch(self, schema_id: int) -> str:
        return SCHEMAS[schema_id].text


def views() -> Views:
    def item(row: dict[str, Any]) -> dict[str, Any]:
        return {**row, "terminating": None, "stalled": False}

    return Views(cast(Registry, Schemas()), item)


def record(kind: str, schema_id: int, fields: dict[str, Any]) -> LiveRecord:
    return LiveRecord(kind, 0, "log:0", 7, NOW_US, None, SCHEMAS[schema_id].encode(fields, schema_id), ID)


def delta(**fields: Any) -> LiveRecord:
    names = dict.fromkeys(("emitter_id", "org_id", "agent_id", "owner_team_id"), "acme")
    piece = {"turn_index": 3, "delta_index": 0, "kind": "CONTENT", "text": "Hel", "occurred_at": NOW_US}
    return record(DELTA, 1, {"session_id": ID, **names, **piece, **fields})


def state(**fields: Any) -> LiveRecord:
    known = SessionState(ID).to_record("5b1d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4e:3")
    return record(STATE, 2, {**known, **fields})


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (NOW_US, "2026-09-21T14:13:20.000000Z"),
        (YEAR_10000_US, str(YEAR_10000_US)),
        (NOW_US * 1000, str(NOW_US * 1000)),  # of a clock in nanoseconds
        (-(2**63), str(-(2**63))),
    ],
)
def test_a_piece_of_a_turn_is_shown_whatever_time_its_emitter_says(us: int, text: str) -> None:
    shown = views().show(delta(occurred_at=us))
    assert shown is not None
    assert (shown.turn_index, orjson.loads(shown.data)) == (
        3,
        {
            "session_id": ID,
            "turn_index": 3,
            "delta_index": 0,
            "kind": "CONTENT",
            "text": "Hel",
            "occurred_at": text,
        },
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"started_at": YEAR_10000_US},  # a filter would compare it
        {"completed_at": -(2**63)},
        {"started_at": 0, "completed_at": YEAR_10000_US},
    ],
)
def test_what_cannot_be_shown_is_passed_over_and_said_once(
    fields: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    hub = Hub(views().show)
    hub.begin({STATE: {0: ("log:0", 7)}})
    with (
        caplog.at_level(logging.WARNING),
        hub.listening_to_list(Scope.everywhere()) as one,
        hub.listening_to_list(Scope.of_organisation("acme")) as other,
    ):
        one.join([])
        other.join([])
        hub.take([state(**fields)])
        assert (one.take(), other.take(), [hub.shown(held) for held in hub.recent_states({})]) == ([], [], [None])
    [line] = caplog.messages
    assert line.startswith("live: state at offset 7 of log log:0 is not shown: ")


def test_a_state_that_is_one_is_shown() -> None:
    shown = views().show(state(org_id="acme", as_of=NOW_US))
    assert shown is not None
    assert (shown.org_id, orjson.loads(shown.data)["session_id"]) == ("acme", ID)
