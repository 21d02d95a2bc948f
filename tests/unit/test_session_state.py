"""`procurator.session_state`: what each kind of event does to a session, and each flag with what raises it."""

import itertools
from decimal import Decimal
from typing import Any

import pytest

from procurator import events
from procurator import session_flags as flag
from procurator.avro_schemas.codec import Decoder, from_decimal, load_schema
from procurator.events import SessionEvent
from procurator.pricing import Cost
from procurator.session_state import SessionState

SESSION_ID = "0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d"
LOG_ID = "5b1d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4e:3"
T0_US = 1_790_000_000_000_000
EVENTS = load_schema("session_event")
STATE = load_schema("session_state")

Payload = tuple[str, dict[str, Any]]

_DECODER = Decoder(EVENTS, lambda schema_id: EVENTS.text)
_EVENT_ID = "1f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d"


def event(payload: Payload, **envelope: Any) -> SessionEvent:
    record = {
        "event_id": _EVENT_ID,
        "session_id": SESSION_ID,
        "emitter_id": "runtime",
        "sequence": 0,
        "occurred_at": T0_US,
        "nonce": bytes(16),
        "org_id": "acme",
        "agent_id": "billing",
        "owner_team_id": "payments",
        "payload": payload,
        **envelope,
    }
    return events.parse(_DECODER, EVENTS.encode(record, 1))


def started(**fields: Any) -> Payload:
    return events.SESSION_STARTED, {"agent_name": "Billing", "initiator": "USER", "origin": "API", **fields}


def turn(index: int = 0, role: str = "USER") -> Payload:
    return events.TURN_RECORDED, {"turn_index": index, "role": role, "content": "hello"}


def tool_started(call_id: str = "t1", **fields: Any) -> Payload:
    return events.TOOL_CALL_STARTED, {"tool_call_id": call_id, "tool_name": "search", "input": "{}", **fields}


def tool_completed(call_id: str = "t1", status: str = "SUCCESS", **fields: Any) -> Payload:
    call = {"tool_call_id": call_id, "tool_name": "search", "status": status, "latency_ms": 5.0}
    return events.TOOL_CALL_COMPLETED, {**call, **fields}


def model_started(call_id: str = "m1") -> Payload:
    return events.MODEL_CALL_STARTED, {"model_call_id": call_id, "provider": "openai", "model": "gpt-4o"}


def model_completed(call_id: str = "m1", **fields: Any) -> Payload:
    call = {"model_call_id": call_id, "provider": "openai", "model": "gpt-4o", "latency_ms": 5.0}
    return events.MODEL_CALL_COMPLETED, {**call, **fields}


def requested(approval_id: str = "a1") -> Payload:
    return events.APPROVAL_REQUESTED, {"approval_id": approval_id, "reason": "a refund"}


def decided(approval_id: str = "a1", decision: str = "APPROVED") -> Payload:
    return events.APPROVAL_DECIDED, {"approval_id": approval_id, "decision": decision, "decided_by": "ann"}


def ended(status: str = "COMPLETED", **fields: Any) -> Payload:
    return events.SESSION_ENDED, {"status": status, "ended_by": "runtime", **fields}


def heartbeat() -> Payload:
    return events.HEARTBEAT, {"idle_ms": 30_000}


def fold(*payloads: Payload, cost: Cost | None = None) -> SessionState:
    """The state after these payloads of one emitter, one second apart, at offsets from 0."""
    state = SessionState(SESSION_ID)
    for n, payload in enumerate(payloads):
        moment = T0_US + n * 1_000_000
        priced = cost if payload[0] == events.MODEL_CALL_COMPLETED else None
        record = event(payload, sequence=n, occurred_at=moment)
        assert state.apply(record, offset=n, broker_time_us=moment + 7, cost=priced)
    return state


def test_a_session_from_start_to_end() -> None:
    state = fold(
        started(labels={"env": "prod"}, timeout_s=600, user_id="ann", team_id="t"),
        turn(0),
        model_started(),
        model_completed(turn_index=1, input_tokens=100, cached_input_tokens=20, output_tokens=30, reasoning_tokens=4),
        turn(1, "ASSISTANT"),
        tool_started(mcp_server_id="crm"),
        tool_completed(turn_index=1, mcp_server_id="crm", status="ERROR", error_message="no such order"),
        turn(2, "TOOL"),
        ended(),
        cost=Cost(Decimal("0.001250000000000001"), "v1"),
    )
    assert (state.status, state.flags) == ("COMPLETED", [])
    assert (state.turns, state.tool_calls, state.tool_errors, state.model_calls) == (3, 1, 1, 1)
    assert (state.input_tokens, state.cached_input_tokens, state.output_tokens, state.reasoning_tokens) == (
        100,
        20,
        30,
        4,
    )
    assert (state.cost_usd, state.priced_calls, state.unpriced_calls) == (Decimal("0.001250000000000001"), 1, 0)
    assert (list(state.models), list(state.tools), list(state.mcp_servers)) == (["gpt-4o"], ["search"], ["crm"])
    assert (state.started_at, state.completed_at) == (T0_US, T0_US + 8_000_000)
    assert (state.agent_name, state.labels, state.timeout_s, state.user_id) == ("Billing", {"env": "prod"}, 600, "ann")
    assert (state.as_of_offset, state.as_of, state.events) == (8, T0_US + 8_000_007, 9)


def test_a_record_fits_its_schema_and_comes_back() -> None:
    state = fold(
        started(), tool_started(), model_started(), tool_completed("t9", turn_index=4), requested(), model_completed()
    )
    record = state.to_record(LOG_ID)
    assert set(record) == {field["name"] for field in STATE.raw["fields"]}
    decoded = Decoder(STATE, lambda schema_id: STATE.text).decode(STATE.encode(record, 7))
    assert decoded == record
    assert SessionState.from_record(decoded) == state
    assert (record["open_tool_calls"], record["open_model_calls"]) == (1, 0)


def test_without_a_price_a_call_is_unpriced_and_costs_nothing() -> None:
    state = fold(started(), model_completed(input_tokens=7, output_tokens=5, cache_write_tokens=1))
    assert (state.unpriced_calls, state.unpriced_tokens, state.cost_attousd) == (1, 13, 0)


def test_reported_cost_is_null_until_one_is_reported() -> None:
    assert fold(started(), model_completed()).reported_cost_attousd is None
    reported = from_decimal(Decimal("1.5"))
    state = fold(started(), model_completed(reported_cost_usd=reported), model_completed(reported_cost_usd=reported))
    assert state.reported_cost_attousd == 3 * 10**18


@pytest.mark.parametrize("decision", ["APPROVED", "DENIED", "EXPIRED"])
def test_an_approval_pauses_until_the_last_request_is_decided(decision: str) -> None:
    waiting = [started(), requested("a"), requested("b"), decided("a", decision)]
    assert fold(*waiting).status == "PENDING_APPROVAL"
    assert fold(*waiting, decided("b", decision)).status == "RUNNING"


@pytest.mark.parametrize("status", ["COMPLETED", "FAILED", "TERMINATED", "TIMEOUT"])
def test_an_ending_is_final(status: str) -> None:
    state = fold(started(), requested(), ended(status, reason="why"), requested("b"), decided("b"), ended("FAILED"))
    assert (state.status, state.end_reason) == (status, "why")
    assert state.flags == [flag.EVENT_AFTER_END, flag.ENDED_AGAIN]


def test_an_error_is_kept() -> None:
    state = fold(started(), ended("FAILED", error={"type": "ValueError", "message": "m" * 20_000, "stack": None}))
    assert state.error == {"type": "ValueError", "message": "m" * flag.TEXT_CHARS_MAX, "stack": None}
    assert state.flags == [flag.OVER_LIMIT]


def test_an_inferred_end_yields_to_the_runtimes_own_earlier_one() -> None:
    state = fold(started(), turn())
    inferred = event(ended("TIMEOUT", inferred=True), emitter_id="processor", occurred_at=T0_US + 60_000_000)
    state.apply(inferred, offset=2, broker_time_us=T0_US)
    state.apply(event(turn(1), sequence=2, occurred_at=T0_US + 50_000_000), offset=3, broker_time_us=T0_US)
    assert (state.status, state.end_inferred, state.flags) == ("TIMEOUT", True, [flag.EVENT_AFTER_END])
    own = event(ended("COMPLETED"), sequence=3, occurred_at=T0_US + 55_000_000)
    state.apply(own, offset=4, broker_time_us=T0_US)
    assert (state.status, state.end_inferred, state.completed_at) == ("COMPLETED", False, T0_US + 55_000_000)
    assert state.flags == [], "what was after the inferred end was before the real one"


def test_an_inferred_end_stands_against_a_later_one_and_yields_silently_when_second() -> None:
    inferred = ended("TERMINATED", inferred=True)
    state = fold(started(), inferred, ended("COMPLETED"))
    assert (state.status, state.flags) == ("TERMINATED", [flag.ENDED_AGAIN])
    state = fold(started(), ended("COMPLETED"), inferred)
    assert (state.status, state.flags) == ("COMPLETED", [])


def test_a_repeated_event_counts_as_repeated_alone() -> None:
    state = fold(started(), turn(0))
    assert state.apply(event(turn(5), sequence=1), offset=2, broker_time_us=T0_US)
    assert (state.turns, state.events, state.repeated_events, state.as_of_offset) == (1, 2, 1, 2)


def test_missing_numbers_are_counted_over_all_emitters() -> None:
    state = SessionState(SESSION_ID)
    for offset, (emitter, sequence) in enumerate([("a", 0), ("a", 3), ("b", 1), ("a", 1)]):
        state.apply(event(turn(offset), emitter_id=emitter, sequence=sequence), offset=offset, broker_time_us=0)
    assert state.missing_events == 2
    assert state.to_record(LOG_ID)["missing_events"] == 2


def test_a_heartbeat_is_no_activity() -> None:
    state = fold(started(), heartbeat())
    assert (state.last_activity_at, state.events) == (T0_US, 2)


def test_estimated_fields_and_gaps_are_listed() -> None:
    state = fold(started(), (events.GAP, {"events_dropped": 3, "reason": "queue_full"}))
    state.apply(event(turn(), sequence=2, estimated=["occurred_at"]), offset=2, broker_time_us=0)
    assert (state.dropped_events, list(state.estimated)) == (3, ["occurred_at"])


@pytest.mark.parametrize(
    ("raised", "payloads"),
    [
        (flag.EVENT_AFTER_END, [started(), ended(), heartbeat()]),
        (flag.ENDED_AGAIN, [started(), ended(), ended()]),
        (flag.EVENT_BEFORE_START, [turn(), started()]),
        (flag.STARTED_AGAIN, [started(), started(agent_name="Other")]),
        (flag.DUPLICATE_TURN, [started(), turn(), turn()]),
        (flag.DUPLICATE_CALL, [started(), tool_started(), tool_started()]),
        (flag.CALL_WITHOUT_START, [started(), tool_completed()]),
        (flag.CALL_WITHOUT_START, [started(), model_completed()]),
        (flag.CALL_WITHOUT_TURN, [started(), tool_started(), tool_completed(turn_index=1), ended()]),
        (flag.DUPLICATE_APPROVAL, [started(), requested(), requested()]),
        (flag.DECISION_WITHOUT_REQUEST, [started(), decided()]),
        (flag.OVER_LIMIT, [started(), ended(reason="n" * (flag.TEXT_CHARS_MAX + 1))]),
    ],
)
def test_each_flag_has_its_cause(raised: str, payloads: list[Payload]) -> None:
    assert fold(*payloads).flags == [raised]
    assert fold(*payloads[:-1]).flags in ([], [flag.EVENT_BEFORE_START])


def test_another_identity_is_flagged_and_the_first_counts() -> None:
    state = fold(started())
    state.apply(event(turn(), sequence=1, org_id="other"), offset=1, broker_time_us=0)
    assert (state.org_id, state.flags) == ("acme", [flag.IDENTITY_CHANGED])


@pytest.mark.parametrize(("reported", "flags"), [("1.01", []), ("1.02", [flag.REPORTED_COST_DIFFERS]), ("0", None)])
def test_a_reported_cost_beyond_the_tolerance_is_flagged(reported: str, flags: list[str] | None) -> None:
    completed = model_completed(reported_cost_usd=from_decimal(Decimal(reported)))
    cost = None if flags is None else Cost(Decimal(1), "v1")
    state = fold(started(), model_started())
    state.apply(event(completed, sequence=2), offset=2, broker_time_us=0, cost=cost)
    assert state.flags == (flags or [])


def test_every_flag_is_tested() -> None:
    marks = test_each_flag_has_its_cause.pytestmark  # type: ignore[attr-defined]
    tested = {case[0] for mark in marks for case in mark.args[1]}
    assert tested | {flag.IDENTITY_CHANGED, flag.REPORTED_COST_DIFFERS} == flag.FLAGS


def test_a_call_that_completed_before_its_start_counts_once() -> None:
    state = fold(started(), tool_completed(), tool_started(), model_completed(), model_completed(), model_started())
    assert (state.tool_calls, state.model_calls) == (1, 1)
    assert (state.open_tools, state.open_models) == ({}, {})


def test_a_turn_that_comes_after_its_call_is_not_missed() -> None:
    calls = [started(), tool_started(), tool_completed(turn_index=0), model_started(), model_completed(turn_index=1)]
    assert fold(*calls, turn(0), turn(1), ended()).flags == []
    cancelled = tool_completed(turn_index=9, status="CANCELLED")
    assert fold(started(), tool_started(), cancelled, ended("TERMINATED")).flags == []


def test_a_broker_whose_clock_steps_back_makes_no_later_state_look_earlier() -> None:
    state = SessionState(SESSION_ID)
    for offset, (payload, time_us) in enumerate([(started(), 5_000), (turn(), 3_000), (ended(), 4_000)]):
        state.apply(event(payload, sequence=offset), offset=offset, broker_time_us=time_us)
        assert (state.as_of, state.as_of_offset) == (5_000, offset)


def test_everything_that_could_grow_is_bounded() -> None:
    state = SessionState(SESSION_ID)
    payloads = itertools.chain.from_iterable(
        (
            tool_started(f"t{n}", tool_name=f"tool{n}", mcp_server_id=f"s{n}"),
            tool_completed(f"u{n}", turn_index=2 * n),
            model_completed(f"n{n}", model=f"model{n}"),
            requested(f"a{n}"),
            turn(3 * n),
        )
        for n in range(1_200)
    )
    state.apply(event(started(labels={str(n): "x" for n in range(events.LABELS_MAX)})), offset=0, broker_time_us=0)
    for n, payload in enumerate(payloads, 1):
        state.apply(event(payload, sequence=n), offset=n, broker_time_us=0)
    assert [len(names) for names in (state.tools, state.mcp_servers, state.models)] == [flag.NAMES_MAX] * 3
    assert len(state.labels) == events.LABELS_MAX
    assert len(state.open_tools) == len(state.completed_call_ids) == flag.OPEN_CALLS_MAX
    assert len(state.pending_approvals) == flag.APPROVALS_MAX
    assert len(state.awaited_turns) <= flag.TURNS_MAX
    assert len(state.turn_runs) == 2 * flag.TURNS_MAX
    assert flag.OVER_LIMIT in state.flags
    assert (state.tool_calls, state.turns) == (2_400, 1_200)
    assert len(STATE.encode(state.to_record(LOG_ID), 1)) < 100_000


def test_sums_stop_at_what_the_columns_hold() -> None:
    state = fold(started(), *[model_completed(f"m{n}", input_tokens=2**53) for n in range(1_100)])
    assert state.input_tokens == state.unpriced_tokens == flag.SUM_MAX
    most = flag.ATTOUSD_MAX.to_bytes(16, "big")
    state = fold(started(), *[model_completed(f"m{n}", reported_cost_usd=most) for n in range(2)])
    assert state.reported_cost_attousd == flag.ATTOUSD_MAX
    STATE.encode(state.to_record(LOG_ID), 1)
