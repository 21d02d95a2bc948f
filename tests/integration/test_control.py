"""Signals on real Kafka reach the sessions they are for, wherever these are, and no others; Kafka away stops nobody."""

import asyncio
import logging
import os
import signal as unix
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Producer

from procurator import signals
from procurator.avro_schemas.codec import load_schema
from procurator.clock import now_us
from procurator.deploy.embedded.components import INFRASTRUCTURE
from procurator.deploy.embedded.layout import Ports
from procurator.deploy.embedded.stack import Stack, StackConfig
from procurator.kafka import Topics, producer_config
from procurator.producers import Procurator, Session, SessionTerminated, Signal, control
from procurator.producers.control import CATCH_UP_S
from procurator.registry import Registry
from procurator.topics import CONTROL, SESSION_EVENTS

SLOW_S = 30.0


@dataclass
class Operator:
    """Puts signals on the control topic, as the API and the stream processors do."""

    stack: Stack

    def __post_init__(self) -> None:
        registry = Registry(self.stack.registry_url)
        registry.register(load_schema(SESSION_EVENTS.schema))
        self._schema = load_schema(CONTROL.schema)
        self._schema_id = registry.register(self._schema)
        registry.close()
        Topics(self.stack.kafka).ensure([SESSION_EVENTS, CONTROL], 4, 1)
        self._producer = Producer(producer_config(self.stack.kafka, **{"linger.ms": 0}))

    def send(self, record: dict[str, Any]) -> None:
        value = self._schema.encode(record, self._schema_id)
        self._producer.produce(CONTROL.name, value, record["session_id"])
        assert self._producer.flush(30) == 0

    def terminate(self, session_id: str, times: int = 1) -> None:
        for _ in range(times):
            self.send(signals.terminate_by("user:eve", session_id, "default", "it loops", now_us()))

    def pause(self, session_id: str) -> str:
        """Pause as a budget does; return the approval that it waits for."""
        approval_id = f"{signals.BUDGET_APPROVAL}{uuid4()}"
        self.send(
            signals.signal(
                signals.PAUSE,
                signals.BY_BUDGET,
                because=(approval_id,),
                session_id=session_id,
                org_id="default",
                requested_by=signals.PROCESSOR,
                reason="half of the budget is spent",
                now_us=now_us(),
                approval_id=approval_id,
                budget_id="b",
            )
        )
        return approval_id

    def decide(self, session_id: str, approval_id: str, decision: str) -> None:
        self.send(signals.decided(session_id, "default", approval_id, decision, "user:ann", None, now_us()))

    def connect(self, **options: Any) -> Procurator:
        return Procurator(
            kafka_bootstrap_servers=self.stack.kafka,
            schema_registry_url=self.stack.registry_url,
            environment={},
            **options,
        )


@pytest.fixture(scope="module")
def operator(broker_stack: Stack) -> Operator:
    return Operator(broker_stack)


@pytest.fixture
def sdk(operator: Operator) -> Iterator[Procurator]:
    with operator.connect() as sdk:
        yield sdk


def readers() -> int:
    return sum(thread.name == "procurator-control" for thread in threading.enumerate())


def test_a_blocking_tool_call_sees_the_token_and_its_result_is_not_taken(operator: Operator, sdk: Procurator) -> None:
    heard: list[Signal] = []
    with (  # noqa: PT012
        pytest.raises(SessionTerminated, match="terminated by user:eve: it loops"),
        sdk.session(on_signal=heard.append) as session,
        session.tool_call("slow") as call,
    ):
        operator.terminate(session.session_id)
        assert call.cancelled.wait(SLOW_S)
        call.complete("too late")
    assert [each.kind for each in heard] == ["TERMINATE"]
    assert session.events == 4  # Started, the call's start and end, ended.


async def test_an_asyncio_tool_call_is_cancelled_where_it_waits(operator: Operator, sdk: Procurator) -> None:
    with pytest.raises(SessionTerminated):  # noqa: PT012
        async with sdk.session() as session, session.tool_call("slow"):
            await asyncio.to_thread(operator.terminate, session.session_id, times=3)
            await asyncio.sleep(SLOW_S)


def test_between_calls_the_next_one_raises(operator: Operator, sdk: Procurator) -> None:
    with pytest.raises(SessionTerminated), sdk.session() as session:  # noqa: PT012
        operator.terminate(session.session_id)
        assert session.cancelled.wait(SLOW_S)
        session.turn("assistant", "never said")


def test_a_session_that_starts_after_its_signal_makes_no_call(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "CATCH_UP_S", SLOW_S)  # beyond which calls are made, however slow the machine is
    early, later = str(uuid4()), str(uuid4())
    for session_id in (early, later):
        operator.terminate(session_id)
    assert readers() == 0
    with operator.connect() as sdk:
        # The process subscribes late; then it has subscribed, and the session starts late.
        for session_id in (early, later):
            with (
                pytest.raises(SessionTerminated),
                sdk.session(session_id=session_id) as session,
                session.model_call("openai", "gpt-4o"),
            ):
                pytest.fail("no call may be made")
            assert session.events == 2


def test_a_paused_session_goes_on_once_it_is_approved(operator: Operator, sdk: Procurator) -> None:
    paused = threading.Event()
    with sdk.session(on_signal=lambda _: paused.set()) as session:
        approval_id = operator.pause(session.session_id)
        assert paused.wait(SLOW_S)
        resume = threading.Timer(0.2, operator.decide, (session.session_id, approval_id, "APPROVED"))
        began = time.monotonic()
        resume.start()
        with session.tool_call("f") as call:
            assert time.monotonic() - began >= 0.15
            call.complete()
    assert session.events == 4


async def test_a_paused_session_that_is_denied_is_terminated(operator: Operator, sdk: Procurator) -> None:
    paused = asyncio.Event()
    loop = asyncio.get_running_loop()
    with pytest.raises(SessionTerminated, match="terminated by user:ann: denied"):  # noqa: PT012
        async with sdk.session(on_signal=lambda _: loop.call_soon_threadsafe(paused.set)) as session:
            approval_id = await asyncio.to_thread(operator.pause, session.session_id)
            await asyncio.wait_for(paused.wait(), SLOW_S)
            deny = threading.Timer(0.1, operator.decide, (session.session_id, approval_id, "DENIED"))
            deny.start()
            async with session.tool_call("f"):
                pytest.fail("it was paused")


async def test_a_gate_of_the_runtime_gets_its_decision(operator: Operator, sdk: Procurator) -> None:
    async with sdk.session() as session:
        approval_id = session.request_approval("send it?")
        await asyncio.to_thread(operator.decide, session.session_id, approval_id, "DENIED")
        decided = await session.wait_for_approval_async(approval_id, timeout_s=SLOW_S)
    assert (decided.decision, decided.decided_by) == ("DENIED", "user:ann")


async def test_of_two_sessions_one_is_stopped_and_one_consumer_serves_both(operator: Operator, sdk: Procurator) -> None:
    async def work(session: Session) -> str:
        async with session, session.tool_call("slow") as call:
            inside.release()
            await asyncio.wait_for(go_on.wait(), SLOW_S)
            call.complete("done")
        return "done"

    inside, go_on = asyncio.Semaphore(0), asyncio.Event()
    with operator.connect() as another:
        stopped, other = sdk.session(), another.session()
        tasks = [asyncio.create_task(work(session)) for session in (stopped, other)]
        for _ in tasks:
            await inside.acquire()
        assert readers() == 1
        await asyncio.to_thread(operator.terminate, stopped.session_id)
        with pytest.raises(SessionTerminated):
            await tasks[0]
        go_on.set()
        assert await tasks[1] == "done"
    assert readers() == 1


def test_switched_off_nothing_is_read(operator: Operator) -> None:
    with operator.connect(control=False) as sdk, sdk.session() as session, session.tool_call("f") as call:
        operator.terminate(session.session_id)
        call.complete()
        assert readers() == 0
    with operator.connect() as sdk, sdk.session(control=False):
        assert readers() == 0
    with operator.connect() as sdk:
        sdk.connect()
        assert readers() == 0


def test_while_kafka_is_away_the_agent_goes_on_and_is_told_once_it_is_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Stack(StackConfig(tmp_path, Ports.free(), INFRASTRUCTURE - {"clickhouse"})) as stack:
        operator = Operator(stack)
        with operator.connect() as sdk:
            sdk.connect()
            os.kill(stack.pid("kafka"), unix.SIGSTOP)
            began = time.monotonic()
            with caplog.at_level(logging.WARNING), sdk.session() as first, first.tool_call("f") as call:
                waited_s = time.monotonic() - began
                call.complete()
            assert CATCH_UP_S - 0.5 <= waited_s < CATCH_UP_S + 30
            began = time.monotonic()
            with sdk.session() as second, second.tool_call("f") as call:
                call.complete()
            assert time.monotonic() - began < CATCH_UP_S - 0.5, "it does not wait again"
            session = sdk.session().start()
            os.kill(stack.pid("kafka"), unix.SIGCONT)
            operator.terminate(session.session_id)
            assert session.cancelled.wait(60)
            stack.restart("kafka", unix.SIGKILL)
            session = sdk.session().start()
            operator.terminate(session.session_id)
            assert session.cancelled.wait(60)
        said = [record for record in caplog.records if "signals cannot reach" in record.getMessage()]
        assert len(said) == 1


def test_an_agent_of_its_own_process_stops_and_exits(operator: Operator, tmp_path: Path) -> None:
    script = tmp_path / "agent.py"
    script.write_text(
        "import time\n"
        "from procurator.producers import Procurator, SessionTerminated\n"
        "try:\n"
        "    with Procurator().session(agent='a') as s:\n"
        "        print(s.session_id, flush=True)\n"
        "        while True:\n"
        "            with s.tool_call('spin') as call:\n"
        "                time.sleep(0.01)\n"
        "                call.complete()\n"
        "except SessionTerminated as stopped:\n"
        "    print(stopped)\n"
    )
    environment = {
        **os.environ,
        "PROCURATOR_KAFKA_BOOTSTRAP_SERVERS": operator.stack.kafka,
        "PROCURATOR_SCHEMA_REGISTRY_URL": operator.stack.registry_url,
    }
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment) as agent:
        assert agent.stdout is not None
        operator.terminate(agent.stdout.readline().strip())
        assert agent.communicate(timeout=SLOW_S)[0] == "terminated by user:eve: it loops\n"
    assert agent.returncode == 0
