"""The simulated fleet: seeded, of every origin and status, and what it says it published is what it published."""

import asyncio
import threading
from collections import Counter

import pytest

from procurator.events import TOKEN_BUCKETS, SessionEvent, kind_of
from procurator.producers import Procurator
from procurator.producers.memory import MemoryTransport
from procurator.producers.simulator import LOOPER, Played, choose, simulate, simulate_live
from procurator.producers.simulator.plan import Delegate, Say, SessionPlan
from procurator.producers.simulator.player import play
from procurator.producers.simulator.service import SEARCHES

NOW_US = 1_790_000_000_000_000
FOR_EVER_S = 1e9


def published(sessions: int, seed: int) -> tuple[list[Played], list[SessionEvent]]:
    transport = MemoryTransport()
    with Procurator(transport=transport, environment={}) as procurator:
        played = simulate(procurator, sessions, seed, clock=lambda: NOW_US)
    return played, transport.events


@pytest.fixture(scope="module")
def fleet() -> tuple[list[Played], list[SessionEvent]]:
    return published(600, 7)


def test_a_seed_says_what_happens() -> None:
    assert choose(50, 1) == choose(50, 1)
    assert choose(50, 1) != choose(50, 2)


@pytest.mark.parametrize("sessions", [1, 2, 37, 200])
def test_exactly_so_many_sessions_are_played(sessions: int) -> None:
    played, events = published(sessions, 3)
    assert len(played) == sessions == len({event["session_id"] for event in events})


def test_what_it_says_is_what_it_published(fleet: tuple[list[Played], list[SessionEvent]]) -> None:
    played, events = fleet
    kinds = Counter((event["session_id"], kind_of(event)) for event in events)
    tokens: Counter[str] = Counter()
    for event in events:
        if kind_of(event) == "ModelCallCompleted":
            tokens[event["session_id"]] += sum(event["payload"][1][bucket] for bucket in TOKEN_BUCKETS)
    ended = {event["session_id"]: event["payload"][1]["status"] for event in events if kind_of(event) == "SessionEnded"}
    for session in played:
        assert session.events == sum(count for (owner, _), count in kinds.items() if owner == session.session_id)
        for name, kind in (
            ("turns", "TurnRecorded"),
            ("tool_calls", "ToolCallStarted"),
            ("model_calls", "ModelCallStarted"),
        ):
            assert getattr(session, name) == kinds[session.session_id, kind]
        assert session.tokens == tokens[session.session_id]
        waits = kinds[session.session_id, "ApprovalRequested"] > kinds[session.session_id, "ApprovalDecided"]
        still = "PENDING_APPROVAL" if waits else "RUNNING"
        assert session.status == ended.get(session.session_id, still)


def test_every_origin_status_and_outcome_is_there(fleet: tuple[list[Played], list[SessionEvent]]) -> None:
    played, events = fleet
    assert {session.status for session in played} == {
        "COMPLETED",
        "FAILED",
        "TERMINATED",
        "TIMEOUT",
        "RUNNING",
        "PENDING_APPROVAL",
    }
    payloads = [(kind_of(event), event["payload"][1]) for event in events]
    started = [payload for kind, payload in payloads if kind == "SessionStarted"]
    assert {payload["origin"] for payload in started} == {"API", "SCHEDULE", "WORKFLOW", "A2A"}
    assert {payload["parent_session_id"] for payload in started} - {None} <= {session.session_id for session in played}
    assert {p["status"] for kind, p in payloads if kind == "ToolCallCompleted"} == {"SUCCESS", "ERROR", "TIMEOUT"}
    assert {p["provider"] for kind, p in payloads if kind == "ModelCallCompleted"} >= {
        "openai",
        "anthropic",
        "in-house",
    }
    assert any(p["thinking"] for kind, p in payloads if kind == "TurnRecorded")
    assert any(p["reasoning_tokens"] for kind, p in payloads if kind == "ModelCallCompleted")
    assert any(p["cached_input_tokens"] for kind, p in payloads if kind == "ModelCallCompleted")
    assert all(
        "Traceback" in p["error"]["stack"] for k, p in payloads if k == "SessionEnded" and p["status"] == "FAILED"
    )


def test_time_goes_forward_in_each_session(fleet: tuple[list[Played], list[SessionEvent]]) -> None:
    latest: dict[str, int] = {}
    for event in fleet[1]:
        assert event["occurred_at"] >= latest.get(event["session_id"], 0)
        latest[event["session_id"]] = event["occurred_at"]
    day_us = 86_400_000_000
    assert all(NOW_US - day_us <= at for at in latest.values())


def test_live_sessions_overlap_and_end_when_it_is_stopped() -> None:
    class Stopping(MemoryTransport):
        """Stops the simulation at the hundredth event."""

        def send(self, key: bytes, value: bytes) -> None:
            super().send(key, value)
            if len(self.records) == 100:
                stop.set()

    stop = threading.Event()
    transport = Stopping()
    with Procurator(transport=transport, environment={}) as procurator:
        played = simulate_live(procurator, stop, seed=5, speed=500, concurrency=6)
    kinds = [(event["session_id"], kind_of(event)) for event in transport.events]
    first_end = next(index for index, (_, kind) in enumerate(kinds) if kind == "SessionEnded")
    assert len({session_id for session_id, _ in kinds[:first_end]}) > 1
    assert len(played) == sum(kind == "SessionEnded" for _, kind in kinds)
    assert "TERMINATED" in {session.status for session in played}


async def test_who_is_stopped_within_a_session_that_it_started_ends_with_it() -> None:
    """It went on: Ctrl-C of the demo took half a minute."""

    class Patience:
        controlled = True
        waiting = asyncio.Event()

        def now_us(self) -> int:
            return NOW_US

        async def wait(self, seconds: float) -> None:
            if seconds == FOR_EVER_S:
                self.waiting.set()
                await asyncio.Event().wait()

    who = {"agent": "a", "user": "ada", "org_id": "acme"}
    child = SessionPlan(who=who, steps=(Say("user", "Never said.", FOR_EVER_S),))
    parent = SessionPlan(who=who, steps=(Delegate(child), Say("user", "Not said either.", FOR_EVER_S)))
    played: list[Played] = []
    with Procurator(transport=MemoryTransport(), environment={}) as procurator:
        task = asyncio.create_task(play(procurator, parent, Patience(), played))
        await asyncio.wait_for(Patience.waiting.wait(), 30)
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=30)
    assert done
    assert task.cancelled()
    assert [session.status for session in played] == ["TERMINATED", "TERMINATED"]


def test_the_looping_agent_ends_by_itself_only_after_having_spent_much() -> None:
    transport = MemoryTransport()
    stop = threading.Event()
    with Procurator(transport=transport, environment={}) as procurator:
        player = threading.Thread(
            target=simulate_live, args=(procurator, stop), kwargs={"speed": 1e6, "concurrency": 0, "looping": True}
        )
        player.start()
        while len(transport.records) < 300:
            assert player.is_alive()
            player.join(0.01)
        stop.set()
        player.join()
    first = transport.events[0]["session_id"]
    mine = [event for event in transport.events if event["session_id"] == first]
    assert {event["agent_id"] for event in transport.events} == {LOOPER.agent_id}
    assert [kind_of(event) for event in mine].count("ToolCallCompleted") == SEARCHES
    assert mine[-1]["payload"][1]["status"] == "COMPLETED"
