"""Laws of `procurator.session_state`: redelivery changes nothing, a snapshot loses nothing, sums are exact."""

from decimal import Decimal
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from procurator import events
from procurator.avro_schemas.codec import Decoder, load_schema, to_decimal
from procurator.events import TOKEN_BUCKETS, SessionEvent
from procurator.pricing import Cost
from procurator.session_state import SessionState
from procurator.transitions import TERMINAL

SESSION_ID = "0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d"
LOG_ID = "5b1d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4e:3"
EVENTS = load_schema("session_event")
STATE = load_schema("session_state")
_DECODER = Decoder(EVENTS, lambda schema_id: EVENTS.text)
_STATE_DECODER = Decoder(STATE, lambda schema_id: STATE.text)


class Entry(NamedTuple):
    """An event as it stands in a log."""

    offset: int
    event: SessionEvent
    cost: Cost | None


ids = st.sampled_from(["a", "b", "c"])
indexes = st.none() | st.integers(0, 5)
tokens = st.integers(0, 1000) | st.just(2**53)
statuses = st.sampled_from(["SUCCESS", "ERROR", "TIMEOUT", "CANCELLED"])


def payload(kind: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    return st.tuples(st.just(kind), st.fixed_dictionaries(dict(fields)))


payloads = st.one_of(
    payload(
        events.SESSION_STARTED,
        agent_name=ids,
        initiator=st.sampled_from(["USER", "SYSTEM"]),
        origin=st.sampled_from(["API", "SCHEDULE", "WORKFLOW", "A2A"]),
        labels=st.dictionaries(ids, ids, max_size=2),
    ),
    payload(
        events.TURN_RECORDED, turn_index=st.integers(0, 5), role=st.sampled_from(["USER", "TOOL"]), content=st.text()
    ),
    payload(events.MODEL_CALL_STARTED, model_call_id=ids, provider=ids, model=ids, turn_index=indexes),
    payload(
        events.MODEL_CALL_COMPLETED,
        model_call_id=ids,
        provider=ids,
        model=ids,
        latency_ms=st.just(1.0),
        turn_index=indexes,
        status=statuses,
        reported_cost_usd=st.none() | st.integers(0, 10**20).map(lambda n: n.to_bytes(10, "big", signed=True)),
        **dict.fromkeys(TOKEN_BUCKETS, tokens),
    ),
    payload(events.TOOL_CALL_STARTED, tool_call_id=ids, tool_name=ids, input=st.just("{}"), turn_index=indexes),
    payload(
        events.TOOL_CALL_COMPLETED,
        tool_call_id=ids,
        tool_name=ids,
        mcp_server_id=st.none() | ids,
        status=statuses,
        latency_ms=st.just(1.0),
        turn_index=indexes,
    ),
    payload(events.APPROVAL_REQUESTED, approval_id=ids, reason=st.just(""), expires_at=indexes),
    payload(events.APPROVAL_DECIDED, approval_id=ids, decision=st.sampled_from(["APPROVED", "DENIED"]), decided_by=ids),
    payload(events.SESSION_ENDED, status=st.sampled_from(sorted(TERMINAL)), ended_by=ids, inferred=st.booleans()),
    payload(events.HEARTBEAT, idle_ms=st.just(30_000)),
    payload(
        events.COST_CORRECTED,
        model_call_id=ids,
        provider=ids,
        model=ids,
        corrects_offset=st.integers(0, 9),
        charged_at=st.integers(0, 100),
        difference_usd=st.integers(-(10**20), 10**20).map(lambda n: n.to_bytes(10, "big", signed=True)),
        newly_priced_tokens=st.none() | st.integers(0, 9),
        price_version=ids,
        corrected_by=ids,
    ),
    payload(events.GAP, events_dropped=st.integers(0, 9), reason=st.just("queue_full")),
)


@st.composite
def logs(draw: st.DrawFn) -> list[Entry]:
    """One session's part of a log: offsets ascend with holes, emitters repeat and lose numbers, some calls cost."""
    entries = []
    offset = draw(st.integers(0, 3))
    for body in draw(st.lists(payloads, max_size=25)):
        record = {
            "event_id": "1f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d",
            "session_id": SESSION_ID,
            "emitter_id": draw(ids),
            "sequence": draw(st.integers(0, 12)),
            "occurred_at": draw(st.integers(0, 100)),
            "nonce": bytes(16),
            "imported": draw(st.booleans()),
            "org_id": draw(st.sampled_from(["acme", "acme", "other"])),
            "agent_id": "billing",
            "owner_team_id": "payments",
            "estimated": draw(st.lists(ids, max_size=2)),
            "payload": body,
        }
        event = events.parse(_DECODER, EVENTS.encode(record, 1))
        unscaled = draw(st.none() | st.integers(0, 10**25)) if body[0] == events.MODEL_CALL_COMPLETED else None
        cost = None if unscaled is None else Cost(Decimal(unscaled).scaleb(-18), "v1")
        entries.append(Entry(offset, event, cost))
        offset += draw(st.integers(1, 3))
    return entries


def fold(state: SessionState, entries: list[Entry]) -> SessionState:
    for offset, event, cost in entries:
        state.apply(event, offset=offset, broker_time_us=offset * 10, cost=cost)
    return state


def through_the_wire(state: SessionState) -> SessionState:
    """Encode and decode the state as the changelog does."""
    return SessionState.from_record(_STATE_DECODER.decode(STATE.encode(state.to_record(LOG_ID), 1)))


@given(logs())
def test_folding_twice_is_folding_once(log: list[Entry]) -> None:
    once = fold(SessionState(SESSION_ID), log)
    assert fold(fold(SessionState(SESSION_ID), log), log) == once


@given(logs(), st.data())
def test_a_snapshot_at_any_cut_loses_nothing(log: list[Entry], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(log)))
    resumed = fold(through_the_wire(fold(SessionState(SESSION_ID), log[:cut])), log[cut:])
    straight = fold(SessionState(SESSION_ID), log)
    assert resumed == straight
    assert resumed.to_record(LOG_ID) == straight.to_record(LOG_ID)


@given(logs(), st.data())
def test_any_redelivery_with_crashes_gives_the_same_aggregate(log: list[Entry], data: st.DataObject) -> None:
    """At-least-once: after each crash, delivery starts anew at or below the snapshot that survived."""
    state = survived = SessionState(SESSION_ID)
    for _ in range(data.draw(st.integers(0, 4))):
        start = data.draw(st.integers(0, next((n for n, e in enumerate(log) if e.offset > survived.as_of_offset), 0)))
        end = data.draw(st.integers(start, len(log)))
        state = fold(state, log[start:end])
        survived = through_the_wire(state) if data.draw(st.booleans()) else survived
        state = through_the_wire(survived)
    first = next((n for n, entry in enumerate(log) if entry.offset > state.as_of_offset), len(log))
    assert fold(state, log[first:]) == fold(SessionState(SESSION_ID), log)


@given(logs())
@settings(max_examples=200)
def test_sums_equal_the_recount(log: list[Entry]) -> None:
    """The recount is what the ledger's SQL does: filter the repeated, group by kind, sum."""
    state = fold(SessionState(SESSION_ID), log)
    seen: set[tuple[str, int]] = set()
    counted = []
    for entry in log:
        identity = entry.event["emitter_id"], entry.event["sequence"]
        if identity not in seen:
            counted.append(entry)
        seen.add(identity)
    calls = [e for e in counted if e.event["payload"][0] == events.MODEL_CALL_COMPLETED]
    tools = [e.event["payload"][1] for e in counted if e.event["payload"][0] == events.TOOL_CALL_COMPLETED]
    assert state.events == len(counted)
    assert state.repeated_events == len(log) - len(counted)
    assert state.missing_events == sum(
        max(n for name, n in seen if name == emitter) + 1 - sum(name == emitter for name, _ in seen)
        for emitter in {name for name, _ in seen}
    )
    assert state.turns == sum(e.event["payload"][0] == events.TURN_RECORDED for e in counted)
    assert state.tool_errors == sum(tool["status"] in ("ERROR", "TIMEOUT") for tool in tools)
    for bucket in TOKEN_BUCKETS:
        assert getattr(state, bucket) == sum(e.event["payload"][1][bucket] for e in calls)
    corrected = [e.event["payload"][1] for e in counted if e.event["payload"][0] == events.COST_CORRECTED]
    difference = sum((to_decimal(payload["difference_usd"]) for payload in corrected), Decimal(0))
    assert state.cost_usd == sum((e.cost.cost_usd for e in calls if e.cost), difference)
    newly = [payload["newly_priced_tokens"] for payload in corrected if payload["newly_priced_tokens"] is not None]
    assert (state.priced_calls, state.unpriced_calls) == (
        sum(e.cost is not None for e in calls) + len(newly),
        sum(e.cost is None for e in calls) - len(newly),
    )
    reported = [e.event["payload"][1]["reported_cost_usd"] for e in calls]
    assert (state.reported_cost_attousd is None) == all(raw is None for raw in reported)
    assert (state.reported_cost_attousd or 0) == sum(int.from_bytes(raw, "big") for raw in reported if raw is not None)


@given(logs())
def test_a_terminal_status_never_opens_again(log: list[Entry]) -> None:
    state = SessionState(SESSION_ID)
    for entry in log:
        before = state.status, state.end_inferred
        fold(state, [entry])
        if before[0] in TERMINAL:
            assert state.ended
            assert state.status == before[0] or before[1], "only an inferred end may be corrected"
