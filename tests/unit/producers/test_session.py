"""A session records what happens in its block, exactly, whatever leaves it."""

import asyncio
import gc
import threading
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from procurator.avro_schemas.codec import to_decimal
from procurator.errors import UserError
from procurator.events import TIME_US_MAX, SessionEvent, kind_of
from procurator.producers import JsonText, Procurator, SessionTerminated, TerminateSignal
from procurator.producers.memory import MemoryTransport


class Lab:
    """A Procurator whose records stay in memory."""

    def __init__(self) -> None:
        self.transport = MemoryTransport()
        self.procurator = Procurator(transport=self.transport, org_id="acme", owner_team_id="ops", environment={})

    @property
    def events(self) -> list[SessionEvent]:
        return self.transport.events

    def payloads(self, kind: str) -> list[dict[str, Any]]:
        return [event["payload"][1] for event in self.events if kind_of(event) == kind]


@pytest.fixture
def lab() -> Iterator[Lab]:
    lab = Lab()
    with lab.procurator:
        yield lab


def test_identities_and_call_ids_of_any_length_are_recorded(lab: Lab) -> None:
    """Some providers put kilobytes into the id of a tool call: both ends of the call get the same short one."""
    with lab.procurator.session(agent="a" * 5000, user="u" * 5000, labels={"l" * 5000: 1}) as session:
        with session.tool_call("track", tool_call_id="c" * 5000) as tool_call:
            tool_call.complete("Graz")
        session.turn("tool", "Graz", tool_call_id="c" * 5000)

    ids = {payload.get("tool_call_id") for _, payload in (event["payload"] for event in lab.events)} - {None}
    assert ids == {tool_call.id}
    assert {len(event["agent_id"]) for event in lab.events} == {1024}


def test_more_labels_than_a_session_has_are_refused_at_once(lab: Lab) -> None:
    with pytest.raises(UserError, match="labels: 101 are given, a session has at most 100"):
        lab.procurator.session(labels={str(n): n for n in range(101)})


def test_a_session_is_recorded_in_order_with_dense_sequences(lab: Lab) -> None:
    with lab.procurator.session(agent="support", user="ada", labels={"tier": 1}) as session:
        assert session.turn("user", "Where is it?") == 0
        with session.model_call("openai", "gpt-4o") as model_call:
            model_call.complete(input_tokens=10, cached_input_tokens=90, output_tokens=5, reported_cost_usd="0.001")
        assert session.turn("assistant", None, thinking="Look it up.") == 1
        with session.tool_call("track", {"parcel": "Ä1"}, mcp_server_id="post", timeout_ms=500) as tool_call:
            tool_call.complete({"at": "Graz"})
        session.turn("tool", '{"at": "Graz"}', tool_call_id=tool_call.id)

    events = lab.events
    assert [kind_of(event) for event in events] == [
        "SessionStarted",
        "TurnRecorded",
        "ModelCallStarted",
        "ModelCallCompleted",
        "TurnRecorded",
        "ToolCallStarted",
        "ToolCallCompleted",
        "TurnRecorded",
        "SessionEnded",
    ]
    assert [event["sequence"] for event in events] == list(range(9))
    assert {(event["org_id"], event["agent_id"], event["owner_team_id"]) for event in events} == {
        ("acme", "support", "ops")
    }
    assert len({event["nonce"] for event in events} | {event["event_id"] for event in events}) == 18
    assert {key for key, _ in lab.transport.records} == {session.session_id.encode()}
    started = lab.payloads("SessionStarted")[0]
    assert (started["initiator"], started["origin"], started["labels"]) == ("USER", "API", {"tier": "1"})
    completed = lab.payloads("ModelCallCompleted")[0]
    assert (completed["input_tokens"], completed["cached_input_tokens"], completed["turn_index"]) == (10, 90, 1)
    assert to_decimal(completed["reported_cost_usd"]) == Decimal("0.001")
    assert lab.payloads("TurnRecorded")[1]["model_call_id"] == model_call.id
    assert lab.payloads("ToolCallStarted")[0]["input"] == '{"parcel":"Ä1"}'
    assert lab.payloads("ToolCallCompleted")[0]["output"] == '{"at":"Graz"}'
    assert lab.payloads("ToolCallCompleted")[0]["turn_index"] == 1
    assert lab.payloads("SessionEnded")[0]["status"] == "COMPLETED"


async def test_asyncio_records_the_same(lab: Lab) -> None:
    async with lab.procurator.session(agent="support") as session:
        async with session.model_call("anthropic", "claude-sonnet-4-5") as model_call:
            model_call.first_token()
            model_call.complete(output_tokens=1)
        with pytest.raises(asyncio.CancelledError):
            async with session.tool_call("slow"):
                raise asyncio.CancelledError
    assert [event["sequence"] for event in lab.events] == list(range(6))
    assert lab.payloads("ToolCallCompleted")[0]["status"] == "CANCELLED"
    assert lab.payloads("ModelCallCompleted")[0]["first_token_ms"] >= 0


def test_an_exception_ends_the_session_failed_with_its_stack(lab: Lab) -> None:
    with pytest.raises(KeyError), lab.procurator.session():
        raise KeyError("boom")
    ended = lab.payloads("SessionEnded")[0]
    assert (ended["status"], ended["error"]["type"], ended["error"]["message"]) == ("FAILED", "KeyError", "'boom'")
    assert "Traceback (most recent call last)" in ended["error"]["stack"]
    assert __name__.rpartition(".")[2] in ended["error"]["stack"]


def test_a_termination_that_leaves_the_block_ends_it_terminated(lab: Lab) -> None:
    signal = TerminateSignal("admin:eve", "loops", "0f0e0d0c-0b0a-4908-8706-050403020100")
    with (
        pytest.raises(SessionTerminated, match="terminated by admin:eve: loops"),
        lab.procurator.session() as session,
        session.tool_call("search"),
    ):
        raise SessionTerminated(signal)
    assert lab.payloads("ToolCallCompleted")[0]["status"] == "CANCELLED"
    ended = lab.payloads("SessionEnded")[0]
    assert (ended["status"], ended["ended_by"], ended["reason"], ended["signal_id"]) == (
        "TERMINATED",
        "admin:eve",
        "loops",
        "0f0e0d0c-0b0a-4908-8706-050403020100",
    )


@pytest.mark.parametrize(("timeout_s", "status"), [(0, "TIMEOUT"), (3600, "FAILED"), (None, "FAILED")])
def test_only_its_own_timeout_ends_a_session_timed_out(lab: Lab, timeout_s: int | None, status: str) -> None:
    with pytest.raises(TimeoutError), lab.procurator.session(timeout_s=timeout_s):
        raise TimeoutError
    assert lab.payloads("SessionEnded")[0]["status"] == status


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ValueError("no such order"), "ERROR", "no such order"),
        (ValueError(), "ERROR", "ValueError"),
        (TimeoutError("5 s"), "TIMEOUT", "5 s"),
        (KeyboardInterrupt(), "CANCELLED", "KeyboardInterrupt"),
    ],
)
def test_what_leaves_a_call_is_its_status(lab: Lab, error: BaseException, status: str, message: str) -> None:
    with lab.procurator.session() as session:
        with pytest.raises(type(error)), session.tool_call("f"):
            raise error
        with pytest.raises(type(error)), session.model_call("openai", "gpt-4o"):
            raise error
    for kind in ("ToolCallCompleted", "ModelCallCompleted"):
        completed = lab.payloads(kind)[0]
        assert (completed["status"], completed["error_message"]) == (status, message)


def test_unknown_usage_is_said_to_be_a_guess(lab: Lab) -> None:
    with lab.procurator.session() as session:
        with session.model_call("openai", "gpt-4o"):
            pass
        with pytest.raises(OSError), session.model_call("openai", "gpt-4o"):
            raise OSError("refused")
    guesses = [event["estimated"] for event in lab.events if kind_of(event) == "ModelCallCompleted"]
    assert [len(names) for names in guesses] == [5, 0]


def test_an_approval_is_requested_and_decided(lab: Lab) -> None:
    with lab.procurator.session() as session:
        approval_id = session.request_approval("refund of 900 USD")
        session.approval_decided(approval_id, "DENIED", decided_by="user:bo", reason="too much")
    assert lab.payloads("ApprovalRequested")[0]["approval_id"] == approval_id
    assert lab.payloads("ApprovalDecided")[0]["decision"] == "DENIED"


def test_threads_share_a_session_without_a_hole(lab: Lab) -> None:
    with lab.procurator.session() as session:

        def work() -> None:
            for _ in range(200):
                session.turn("assistant", "…")

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [event["sequence"] for event in lab.events] == list(range(802))
    assert [turn["turn_index"] for turn in lab.payloads("TurnRecorded")] == list(range(800))


def test_two_model_calls_before_a_turn_are_not_guessed_between(lab: Lab) -> None:
    with lab.procurator.session() as session:
        for _ in range(2):
            with session.model_call("openai", "gpt-4o") as call:
                call.complete()
        session.turn("assistant", "which?")
    assert lab.payloads("TurnRecorded")[0]["model_call_id"] is None


def test_origin_follows_from_what_started_the_session(lab: Lab) -> None:
    parent = "0f0e0d0c-0b0a-4908-8706-050403020100"
    for known in ({}, {"schedule_id": "nightly"}, {"workflow_id": "w"}, {"parent_session_id": parent.upper()}):
        with lab.procurator.session(**known):  # type: ignore[arg-type]
            pass
    started = lab.payloads("SessionStarted")
    assert [payload["origin"] for payload in started] == ["API", "SCHEDULE", "WORKFLOW", "A2A"]
    assert started[3]["parent_session_id"] == parent
    assert started[0]["initiator"] == "SYSTEM"


def test_events_after_the_end_are_recorded_and_a_second_end_is_not(lab: Lab) -> None:
    with lab.procurator.session() as session:
        session.end("FAILED", error=RuntimeError("given up"))
        session.turn("assistant", "late")
    assert [kind_of(event) for event in lab.events] == ["SessionStarted", "SessionEnded", "TurnRecorded"]


def test_mistakes_are_one_clear_line(lab: Lab) -> None:
    session = lab.procurator.session()
    with pytest.raises(UserError, match="the session has not started"):
        session.turn("user", "hi")
    with session:
        with pytest.raises(UserError, match="has been started before; make another one"):
            session.start()
        with pytest.raises(UserError, match="role: 'robot' is none of user, assistant, tool, system"):
            session.turn("robot", "")
        with session.model_call("openai", "gpt-4o") as call:
            with pytest.raises(UserError, match="input_tokens: -1 is no number from 0 to"):
                call.complete(input_tokens=-1)
            with pytest.raises(UserError, match="reported_cost_usd: '-1' is no amount of USD from 0 up"):
                call.complete(reported_cost_usd="-1")
            call.complete()
            with pytest.raises(UserError, match="the call is completed already"):
                call.complete()
        with pytest.raises(UserError, match="timeout_ms: nan is no number from 0 to"):
            session.tool_call("f", timeout_ms=float("nan"))
        with pytest.raises(UserError, match="expires_at: a datetime without a time zone"):
            session.request_approval("?", expires_at=datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(UserError, match="timeout_s: -1 is no number from 0 to"):
        lab.procurator.session(timeout_s=-1)
    with pytest.raises(UserError, match="session_id: 'x' is no UUID"):
        lab.procurator.session(session_id="x")
    with pytest.raises(UserError, match="origin: 'CRON' is none of API, SCHEDULE, WORKFLOW, A2A"):
        lab.procurator.session(origin="CRON")  # type: ignore[arg-type]


def test_json_text_is_kept_as_it_stands(lab: Lab) -> None:
    with lab.procurator.session() as session, session.tool_call("f", JsonText('{"a" : 1,}')) as call:
        call.complete(JsonText(" [1 ]"))
    assert lab.payloads("ToolCallStarted")[0]["input"] == '{"a" : 1,}'
    assert lab.payloads("ToolCallCompleted")[0]["output"] == " [1 ]"


def test_a_silent_session_says_that_it_lives() -> None:
    transport = MemoryTransport()
    beaten = threading.Event()

    def clock() -> int:
        if threading.current_thread() is not threading.main_thread():
            beaten.set()
        return 1

    procurator = Procurator(transport=transport, heartbeat_s=0.05, clock=clock, environment={})
    with procurator, procurator.session():
        assert beaten.wait(10)
    kinds = [kind_of(event) for event in transport.events]
    assert kinds[0] == "SessionStarted"
    assert kinds[-1] == "SessionEnded"
    assert set(kinds[1:-1]) == {"Heartbeat"}
    assert [event["sequence"] for event in transport.events] == list(range(len(kinds)))
    assert transport.events[1]["payload"][1]["idle_ms"] >= 50


def test_a_procurator_that_nobody_holds_delivers_what_is_queued() -> None:
    class Watched(MemoryTransport):
        def flush(self, deadline_s: float, patient: bool = True) -> int:
            flushed.append(deadline_s)
            return 0

        def close(self) -> None:
            closed.set()

    flushed: list[float] = []
    closed = threading.Event()

    def agent() -> None:
        with Procurator(transport=Watched(), flush_s=7, environment={}).session():
            pass

    agent()
    gc.collect()
    assert closed.wait(10)
    assert flushed == [7]


def test_two_processes_that_claim_one_session_are_told_apart() -> None:
    transport = MemoryTransport()
    session_id = "0f0e0d0c-0b0a-4908-8706-050403020100"
    for _ in range(2):
        with Procurator(transport=transport, environment={}) as procurator, procurator.session(session_id=session_id):
            pass
    events = transport.events
    assert [event["sequence"] for event in events] == [0, 1, 0, 1]
    assert len({(event["emitter_id"], event["sequence"]) for event in events}) == 4


def test_a_clock_that_jumps_costs_no_event() -> None:
    transport = MemoryTransport()
    times = iter([2_000_000, -5, 1_000_000, 2**62])
    procurator = Procurator(transport=transport, clock=lambda: next(times), environment={})
    with procurator, procurator.session() as session:
        session.turn("user", "back")
        session.turn("user", "and forth")
    assert [event["occurred_at"] for event in transport.events] == [2_000_000, 0, 1_000_000, TIME_US_MAX]
