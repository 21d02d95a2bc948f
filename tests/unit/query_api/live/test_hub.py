"""Rings and listeners: what is kept, who is handed what, who is dropped."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from procurator.access import Scope
from procurator.avro_schemas.codec import load_schema
from procurator.query_api.live.hub import Hub
from procurator.query_api.live.listeners import Dropped, Listener, ListenerPolicy
from procurator.query_api.live.records import DELTA, EVENT, STATE, LiveRecord, Shown, session_id_of
from procurator.query_api.live.ring import Ring

ID = "0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d"


def record(offset: int, session_id: str = ID, kind: str = EVENT, log_id: str = "log:0") -> LiveRecord:
    return LiveRecord(kind, 0, log_id, offset, 0, None, b"x" * 10, session_id)


def hub(owner_team_id: str = "payments", on_slow: Callable[[], object] = lambda: None) -> Hub:
    made = Hub(
        lambda _: Shown("acme", owner_team_id, b"{}", "", None, {}), ListenerPolicy(records_max=2), on_slow=on_slow
    )
    made.begin({kind: {0: (f"{kind}:0", 5)} for kind in (EVENT, STATE, DELTA)})
    return made


def test_a_ring_holds_everything_from_its_start_on() -> None:
    ring = Ring(30, {"log:0": 5, "log:1": 0})
    for offset in range(5, 12):
        ring.add(record(offset, session_id="a" if offset % 2 else "b"))
        ring.add(record(offset, session_id="c", log_id="log:1"))
    held = list(ring.after({}))
    assert [(each.log_id, each.offset) for each in held] == [("log:1", 10), ("log:0", 11), ("log:1", 11)]
    assert ring.starts == {"log:0": 11, "log:1": 10}
    assert [each.offset for each in ring.of_session("a")] == [11]
    assert list(ring.of_session("b")) == []
    assert [each.offset for each in ring.after({"log:0": 11, "log:1": 10})] == [11]


def test_only_those_who_listen_to_a_session_and_have_joined_hear_of_it() -> None:
    live = hub()
    with live.listening(ID) as joined, live.listening(ID) as not_yet, live.listening("other") as other:
        joined.join([])
        other.join([])
        live.take([record(5, log_id="event:0")])
        assert [each.offset for each in joined.take()] == [5]
        assert (not_yet.take(), other.take()) == ([], [])
        assert live.listeners == 3
    assert live.listeners == 0


@pytest.mark.parametrize(
    ("scope", "hears"),
    [
        (Scope.everywhere(), True),
        (Scope.of_organisation("acme"), True),
        (Scope.of_teams("acme", ["payments"]), True),
        (Scope.of_teams("acme", ["search"]), False),
        (Scope.of_teams("acme", []), False),
        (Scope.of_organisation("beta"), False),
    ],
)
def test_a_list_is_told_what_is_in_its_scope(scope: Scope, hears: bool) -> None:
    live = hub()
    with live.listening_to_list(scope) as listener:
        listener.join([])
        live.take([record(5, kind=STATE, log_id="state:0")])
        assert bool(listener.take()) is hears


def test_a_listener_that_does_not_keep_up_is_dropped_with_a_reason_and_counted_once() -> None:
    counted: list[None] = []
    live = hub(on_slow=lambda: counted.append(None))
    with live.listening(ID) as slow, live.listening(ID) as quick:
        slow.join([])
        quick.join([])
        for offset in range(5, 9):
            live.take([record(offset, log_id="event:0")])
            assert len(quick.take()) == 1
        with pytest.raises(Dropped, match="more slowly than they come") as dropped:
            slow.take()
    assert dropped.value.reason == "slow"
    assert len(counted) == 1


def test_bytes_count_as_records_do() -> None:
    listener = Listener(ListenerPolicy(records_max=100, bytes_max=25))
    listener.join([])
    for offset in range(3):
        listener.offer(record(offset))
    with pytest.raises(Dropped):
        listener.check()


def test_a_feed_that_begins_anew_sends_listeners_back_to_the_ledger() -> None:
    live = hub()
    with live.listening(ID) as listener:
        listener.join([])
        live.take([record(5, log_id="event:0")])
        live.begin({kind: {0: (f"{kind}:0", 50)} for kind in (EVENT, STATE, DELTA)})
        assert (listener.is_live, listener.take(), live.start(EVENT)) == (False, [], {"event:0": 50})


def test_a_stop_ends_every_stream() -> None:
    live = hub()
    with live.listening(ID) as one, live.listening_to_list(Scope.everywhere()) as two:
        live.stop("restarting", "this server stops")
        for listener in (one, two):
            with pytest.raises(Dropped) as dropped:
                listener.check()
            assert dropped.value.reason == "restarting"


@pytest.mark.parametrize(
    ("kind", "stem", "first"),
    [
        (EVENT, "session_event", ["event_id", "session_id"]),
        (STATE, "session_state", ["session_id"]),
        (DELTA, "turn_delta", ["session_id"]),
    ],
)
def test_a_record_s_session_is_read_where_every_schema_has_it(kind: str, stem: str, first: list[str]) -> None:
    """`session_id_of` does not decode: the first fields are these, in each version that was ever released."""
    released = Path(__file__).parents[3] / "released_schemas"
    texts = [load_schema(stem).text, *(path.read_text() for path in released.rglob(f"{stem}.avsc"))]
    for text in texts:
        fields = json.loads(text)["fields"][: len(first)]
        assert [field["name"] for field in fields] == first
        assert all(field["type"]["type"] == "string" for field in fields)
    ids = [f"{number}" * 36 for number in range(len(first))]
    value = bytes(5) + b"".join(b"\x48" + each.encode() for each in ids) + b"rest"
    assert session_id_of(kind, value) == ids[-1]


@pytest.mark.parametrize(
    "value", [b"", bytes(5), bytes(200), b"\0\0\0\0\1\x48" + b"\xff" * 36 + b"\x48" + b"\xff" * 36]
)
def test_what_is_no_record_is_of_no_session(value: bytes) -> None:
    assert session_id_of(EVENT, value) is None
    assert session_id_of(STATE, value) is None
