"""A session does as it is told: it stops once, where it is; it waits and goes on; and it says so in the ledger."""

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from procurator import signals
from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.errors import UserError
from procurator.events import SessionEvent, kind_of
from procurator.producers import Procurator, Session, SessionTerminated, Signal
from procurator.producers.defaults import Defaults
from procurator.producers.dispatch import SESSIONS_MAX, Dispatch
from procurator.producers.memory import MemoryTransport


class Lab:
    """A Procurator whose records stay in memory."""

    def __init__(self) -> None:
        self.transport = MemoryTransport()
        self.procurator = Procurator(transport=self.transport, environment={})

    @property
    def events(self) -> list[SessionEvent]:
        return self.transport.events

    def kinds(self) -> list[str]:
        return [kind_of(event) for event in self.events]

    def payloads(self, kind: str) -> list[dict[str, Any]]:
        return [event["payload"][1] for event in self.events if kind_of(event) == kind]


@pytest.fixture
def lab() -> Iterator[Lab]:
    lab = Lab()
    with lab.procurator:
        yield lab


def signal(kind: Any = "TERMINATE", **fields: Any) -> Signal:
    known = {"cause": "PRINCIPAL", "requested_by": "user:eve", "reason": "it loops"}
    return Signal(**{"signal_id": str(uuid4()), "kind": kind, **known, **fields})


def tell(session: Session, told: Signal) -> bool:
    """Do what the control consumer does."""
    if changed := session.tell(told):
        session.act(told)
    return changed


def test_a_terminated_session_records_how_its_call_ended_and_takes_no_result(lab: Lab) -> None:
    told = signal()
    with (  # noqa: PT012
        pytest.raises(SessionTerminated, match="terminated by user:eve: it loops") as raised,
        lab.procurator.session() as session,
        session.tool_call("search") as call,
    ):
        tell(session, told)
        assert call.cancelled.is_set()
        call.complete({"late": "result"})
    assert raised.value.session_id == session.session_id
    completed = lab.payloads("ToolCallCompleted")[0]
    assert (completed["status"], completed["output"]) == ("CANCELLED", None)
    assert completed["error_message"] == "terminated by user:eve: it loops"
    ended = lab.payloads("SessionEnded")[0]
    assert (ended["status"], ended["ended_by"], ended["reason"]) == ("TERMINATED", "user:eve", "it loops")
    assert (ended["signal_id"], ended["error"], ended["inferred"]) == (told.signal_id, None, False)


def test_every_call_of_a_terminated_session_raises_and_records_nothing(lab: Lab) -> None:
    session = lab.procurator.session().start()
    assert tell(session, signal(terminal_status="TIMEOUT"))
    for use in (
        lambda: session.turn("user", "hi"),
        lambda: session.tool_call("f").__enter__(),
        lambda: session.model_call("openai", "gpt-4o").__enter__(),
        lambda: session.request_approval("?"),
        lambda: session.wait_for_approval("?"),
        session.check,
    ):
        with pytest.raises(SessionTerminated):
            use()
    session.heartbeat(0.0)
    session.end()
    assert lab.kinds() == ["SessionStarted", "SessionEnded"]
    assert lab.payloads("SessionEnded")[0]["status"] == "TIMEOUT"


def test_the_usage_of_a_model_call_is_kept_since_it_is_owed(lab: Lab) -> None:
    with (  # noqa: PT012
        pytest.raises(SessionTerminated),
        lab.procurator.session() as session,
        session.model_call("openai", "gpt-4o") as call,
    ):
        tell(session, signal())
        call.complete(output_tokens=7)
    completed = lab.payloads("ModelCallCompleted")[0]
    assert (completed["status"], completed["output_tokens"]) == ("CANCELLED", 7)


def test_an_agent_that_swallows_it_cannot_leave_the_block_as_if_nothing_was(lab: Lab) -> None:
    with pytest.raises(SessionTerminated), lab.procurator.session() as session:
        tell(session, signal())
    with pytest.raises(ZeroDivisionError), lab.procurator.session() as failing:  # noqa: PT012
        tell(failing, signal())
        _ = 1 / 0
    assert [ended["status"] for ended in lab.payloads("SessionEnded")] == ["TERMINATED"] * 2
    assert lab.payloads("SessionEnded")[1]["error"]["type"] == "ZeroDivisionError"


def test_repeated_later_and_too_late_signals_change_nothing(lab: Lab) -> None:
    told, session = signal(), lab.procurator.session().start()
    assert tell(session, told)
    assert not tell(session, told)
    assert not tell(session, signal(requested_by="user:bo"))
    session.end()
    assert lab.payloads("SessionEnded")[0]["ended_by"] == "user:eve"
    with lab.procurator.session() as over:
        over.end()
        assert not tell(over, signal())
    assert lab.payloads("SessionEnded")[1]["status"] == "COMPLETED"
    pause = signal("PAUSE", cause="BUDGET", approval_id="budget:1")
    resume = signal("RESUME", cause="APPROVAL", approval_id="budget:1", decision="APPROVED")
    with lab.procurator.session() as session:
        assert tell(session, pause)
        assert tell(session, resume)
        assert not tell(session, pause)
        with session.tool_call("f"):
            pass


async def test_asyncio_cancels_the_call_and_the_block_is_left_with_the_termination(lab: Lab) -> None:
    cleaned = []
    with pytest.raises(SessionTerminated):  # noqa: PT012
        async with lab.procurator.session() as session, session.tool_call("slow"):
            tell_soon(session, signal())
            try:
                await asyncio.sleep(60)
            except Exception:  # noqa: BLE001 - what agents do
                pytest.fail("an agent's `except Exception` must not stop the cancellation")
            finally:
                await asyncio.sleep(0)  # Cleaning up may wait: a task is cancelled once.
                cleaned.append(True)
    task = asyncio.current_task()
    assert task is not None
    assert (cleaned, task.cancelling()) == ([True], 0)
    assert lab.payloads("ToolCallCompleted")[0]["status"] == "CANCELLED"
    assert lab.payloads("SessionEnded")[0]["status"] == "TERMINATED"


def tell_soon(session: Session, told: Signal) -> None:
    threading.Thread(target=tell, args=(session, told)).start()


async def test_calls_in_other_tasks_are_cancelled_too(lab: Lab) -> None:
    async def work(session: Session) -> None:
        async with session.tool_call("slow"):
            inside.release()
            await asyncio.sleep(60)

    inside = asyncio.Semaphore(0)
    session = lab.procurator.session().start()
    tasks = [asyncio.create_task(work(session)) for _ in range(2)]
    for _ in tasks:
        await inside.acquire()
    tell_soon(session, signal())
    # Without a block of the session, the call's block is where it surfaces.
    assert [type(each) for each in await asyncio.gather(*tasks, return_exceptions=True)] == [SessionTerminated] * 2
    session.end()
    inside = asyncio.Semaphore(0)
    with pytest.raises(SessionTerminated):  # noqa: PT012
        async with lab.procurator.session() as session, asyncio.TaskGroup() as group:
            tasks = [group.create_task(work(session)) for _ in range(2)]
            for _ in tasks:
                await inside.acquire()
            tell_soon(session, signal())
    assert all(task.cancelled() for task in tasks)
    assert [call["status"] for call in lab.payloads("ToolCallCompleted")] == ["CANCELLED"] * 4


async def test_a_cancellation_of_somebody_else_stays_one(lab: Lab) -> None:
    async def agent() -> None:
        async with lab.procurator.session() as session:
            inside.set()
            try:
                await asyncio.sleep(60)
            finally:
                tell(session, signal())

    inside = asyncio.Event()
    task = asyncio.create_task(agent())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert lab.payloads("SessionEnded")[0]["status"] == "TERMINATED"


def test_a_sync_block_around_an_event_loop_ends_terminated(lab: Lab) -> None:
    async def agent(session: Session) -> None:
        async with session.tool_call("slow"):
            tell_soon(session, signal())
            await asyncio.sleep(60)

    with pytest.raises(SessionTerminated), lab.procurator.session() as session:
        asyncio.run(agent(session))


async def test_only_the_session_that_was_told_is_stopped_and_its_end_fails_the_delegating_call(lab: Lab) -> None:
    async with lab.procurator.session(agent="other") as other:
        with pytest.raises(SessionTerminated):  # noqa: PT012
            async with other.tool_call("delegate"), lab.procurator.session(parent_session_id=other.session_id) as child:
                tell_soon(child, signal())
                await asyncio.sleep(60)
        other.turn("assistant", "I go on without it.")
    assert lab.payloads("ToolCallCompleted")[0]["status"] == "ERROR"
    assert [ended["status"] for ended in lab.payloads("SessionEnded")] == ["TERMINATED", "COMPLETED"]


def test_a_budgets_pause_waits_and_says_nothing_as_others_do(lab: Lab) -> None:
    pauses = [signal("PAUSE", cause="BUDGET", approval_id=f"budget:{n}", budget_id="b") for n in range(2)]
    with lab.procurator.session() as session:
        for pause in pauses:
            tell(session, pause)
        done = threading.Event()

        def work() -> None:
            session.tool_call("f").__enter__()
            done.set()

        agent = threading.Thread(target=work)
        agent.start()
        tell(session, signal("RESUME", cause="APPROVAL", approval_id="budget:0", decision="APPROVED"))
        assert not done.wait(0.05)
        tell(session, signal("RESUME", cause="APPROVAL", approval_id="budget:1", decision="APPROVED"))
        agent.join()
    assert lab.kinds() == ["SessionStarted", "ToolCallStarted", "SessionEnded"]


async def test_a_principals_pause_is_said_by_the_session_that_waits(lab: Lab) -> None:
    pause = signal("PAUSE", reason="let me look")
    async with lab.procurator.session() as session:
        tell(session, pause)

        def resume() -> None:
            while "ApprovalRequested" not in lab.kinds():
                time.sleep(0.005)
            tell(session, signal("RESUME", requested_by="user:ann", reason="fine"))

        threading.Thread(target=resume, daemon=True).start()
        async with session.model_call("openai", "gpt-4o") as call:
            call.complete()
    assert lab.kinds()[1:4] == ["ApprovalRequested", "ApprovalDecided", "ModelCallStarted"]
    requested, decided = lab.payloads("ApprovalRequested")[0], lab.payloads("ApprovalDecided")[0]
    assert requested["approval_id"] == decided["approval_id"] == f"pause:{pause.signal_id}"
    assert (requested["reason"], decided["decision"], decided["decided_by"]) == ("let me look", "APPROVED", "user:ann")


async def test_a_paused_session_can_be_terminated(lab: Lab) -> None:
    with pytest.raises(SessionTerminated):  # noqa: PT012
        async with lab.procurator.session() as session:
            tell(session, signal("PAUSE"))
            threading.Timer(0.05, tell, (session, signal())).start()
            async with session.tool_call("f"):
                pytest.fail("it was paused")
    session = lab.procurator.session().start()
    tell(session, signal("PAUSE"))
    threading.Timer(0.05, tell, (session, signal())).start()
    with pytest.raises(SessionTerminated), session.tool_call("f"):
        pytest.fail("it was paused")


async def test_a_gate_of_the_runtime_waits_for_its_decision(lab: Lab) -> None:
    async with lab.procurator.session() as session:
        for decision in ("APPROVED", "DENIED"):
            approval_id = session.request_approval("send it?")
            resume = signal("RESUME", cause="APPROVAL", approval_id=approval_id, decision=decision, reason="so be it")
            threading.Timer(0.02, tell, (session, resume)).start()
            decided = await session.wait_for_approval_async(approval_id, timeout_s=30)
            assert (decided.decision, decided.decided_by, decided.reason) == (decision, "user:eve", "so be it")
            assert session.wait_for_approval(approval_id) == decided
        assert "ApprovalDecided" not in lab.kinds()  # Whoever decided has said so.
        late = session.request_approval("?", expires_at=datetime.now(UTC) + timedelta(milliseconds=30))
        assert (await session.wait_for_approval_async(late)).decision == "EXPIRED"
        assert session.wait_for_approval(session.request_approval("?"), timeout_s=0.01).decision == "EXPIRED"
        here = session.request_approval("?")
        session.approval_decided(here, "DENIED", decided_by="user:bo")
        assert session.wait_for_approval(here).decided_by == "user:bo"
    assert [decided["decision"] for decided in lab.payloads("ApprovalDecided")] == ["EXPIRED", "EXPIRED", "DENIED"]


def test_the_callback_hears_each_signal_once_and_may_fail(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Signal] = []

    def hear(told: Signal) -> None:
        heard.append(told)
        raise RuntimeError("boom")

    pause, stop = signal("PAUSE"), signal()
    session = lab.procurator.session(on_signal=hear).start()
    with caplog.at_level(logging.ERROR):
        for told in (pause, pause, stop, stop):
            tell(session, told)
    assert heard == [pause, stop]
    assert f"on_signal of session {session.session_id} failed" in caplog.text


def test_calls_wait_for_earlier_signals_but_not_for_ever(lab: Lab) -> None:
    with lab.procurator.session() as session:
        began = time.monotonic()
        session.orders.hold(began + 0.05)
        with session.tool_call("f"):
            assert time.monotonic() - began >= 0.05
        session.orders.hold(time.monotonic() + 60)
        threading.Timer(0.02, session.orders.caught_up).start()
        with session.tool_call("g"):
            pass


def dispatch() -> Dispatch:
    schema = load_schema("signal")
    return Dispatch(Decoder(schema, lambda _: schema.text).decode)


def record(session_id: str) -> bytes:
    return load_schema("signal").encode(signals.terminate_by("user:eve", session_id, "acme", "stop", 1), 1)


def test_a_signal_reaches_a_session_that_starts_later(lab: Lab) -> None:
    hub = dispatch()
    kept, forgotten = str(uuid4()), str(uuid4())
    for session_id in (forgotten, *(str(uuid4()) for _ in range(SESSIONS_MAX - 1)), kept, kept):
        hub.take(record(session_id))
    for session_id, stopped in ((kept, True), (forgotten, False)):
        session = lab.procurator.session(session_id=session_id).start()
        hub.opened(session)
        assert session.cancelled.is_set() == stopped


def test_sessions_that_a_terminated_one_started_here_follow_it(lab: Lab) -> None:
    hub = dispatch()
    parent = lab.procurator.session()
    child = lab.procurator.session(parent_session_id=parent.session_id)
    grandchild = lab.procurator.session(parent_session_id=child.session_id)
    bystander = lab.procurator.session()
    for session in (parent, child, grandchild, bystander):
        hub.opened(session.start())
    hub.take(record(parent.session_id))
    assert [s.cancelled.is_set() for s in (parent, child, grandchild, bystander)] == [True, True, True, False]
    told = grandchild.orders.terminated
    by_processor = signals.terminate_child(
        signals.terminate_by("user:eve", child.session_id, "acme", "stop", 1), grandchild.session_id, "acme", 1
    )
    assert told is not None
    assert (told.signal_id, told.issued_by) == (by_processor["signal_id"], "user:eve")
    hub.closed(bystander)
    hub.take(record(bystander.session_id))
    assert not bystander.cancelled.is_set()


def test_control_is_switched_on_or_off_by_the_environment() -> None:
    assert Defaults.from_environment({}).obeys
    assert not Defaults.from_environment({"PROCURATOR_CONTROL": "OFF"}).obeys
    with pytest.raises(UserError, match="PROCURATOR_CONTROL: 'maybe' is neither on nor off"):
        Procurator(environment={"PROCURATOR_CONTROL": "maybe"})
