"""On the real stack: budgets are crossed, sessions do not answer, run too long, have children, wait for an approval."""

import time
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import uuid4

from procurator import events, signals
from procurator.budgets import total_of
from procurator.clock import now_us
from procurator.topics import CONTROL, SESSION_STATE

TERMINATE_AT_LIMIT = (("0.5", "NOTIFY"), ("1", "TERMINATE"))


def agent() -> str:
    return f"agent-{uuid4()}"


def test_a_crossed_budget_terminates_those_who_spend_it_and_refuses_new_ones(fleet: Any, listener: Any) -> None:
    spender, other = agent(), agent()
    budget = fleet.budget(spender, 1000, *TERMINATE_AT_LIMIT)
    first, second, bystander = fleet.start(spender), fleet.start(spender), fleet.start(other)
    fleet.call(first, spender, 999)
    fleet.call(bystander, other, 5000)
    fleet.wait(lambda: listener.counters(budget.budget_id), "the spend is published")
    assert not listener.records(CONTROL)
    fleet.call(second, spender, 1)
    for session_id in (first, second):
        [signal] = fleet.wait(lambda session_id=session_id: listener.signals(session_id), "those who spend are told")
        assert (signal["kind"], signal["cause"], signal["budget_id"]) == ("TERMINATE", "BUDGET", budget.budget_id)
        assert signal["requested_by"] == "procurator.stream"
    fleet.end(second, spender, "TERMINATED")  # within its grace
    late = fleet.start(spender)
    [refused] = fleet.wait(lambda: listener.signals(late), "a new session is refused")
    assert refused["kind"] == "TERMINATE"
    state = fleet.wait(lambda: ended(listener, first), "the grace of a runtime that never answers ends")
    assert (state["status"], state["end_inferred"], state["ended_by"]) == ("TERMINATED", True, "procurator.stream")
    assert state["completed_at"] >= listener.signals(first)[0]["requested_at"] + 10_000_000
    fleet.call(first, spender, 7)
    fleet.wait(lambda: "event_after_end" in listener.state(first)["flags"], "what comes after the end is flagged")
    stated = listener.state(second)
    assert (stated["status"], stated["end_inferred"]) == ("TERMINATED", False)
    assert not listener.signals(bystander)
    assert all(len(listener.signals(session_id)) == 1 for session_id in (first, second, late))


def ended(listener: Any, session_id: str) -> dict[str, Any] | None:
    state: dict[str, Any] | None = listener.state(session_id)
    return state if state is not None and state["completed_at"] is not None else None


def test_a_changed_limit_applies_to_what_is_running(fleet: Any, listener: Any) -> None:
    name = agent()
    budget = fleet.budget(name, 1000, ("1", "TERMINATE"))
    session_id = fleet.start(name)
    fleet.call(session_id, name, 600)
    fleet.wait(lambda: listener.counters(budget.budget_id), "the spend is published")
    fleet.define(replace(budget, limit=Decimal(600), version=2, dry_run=True))
    shown = fleet.start(name)
    fleet.call(shown, name, 1)
    fleet.wait(lambda: listener.counters(budget.budget_id) and listener.state(shown), "the spend is published")
    assert not listener.signals(session_id)
    fleet.define(replace(budget, limit=Decimal(600), version=3))
    for each in (session_id, shown):
        fleet.wait(lambda each=each: listener.signals(each), "the running sessions are told")


def test_each_session_of_an_agent_may_have_a_limit_of_its_own(fleet: Any, listener: Any) -> None:
    name = agent()
    fleet.budget(name, 100, ("1", "TERMINATE"), scope="SESSION")
    frugal, greedy = fleet.start(name), fleet.start(name)
    fleet.call(frugal, name, 99)
    fleet.call(greedy, name, 100)
    fleet.wait(lambda: listener.signals(greedy), "the greedy one is told")
    assert not listener.signals(frugal)


def test_agent_team_and_organisation_all_count_a_model_without_a_price_and_tokens_stop_it(
    fleet: Any, listener: Any
) -> None:
    name, org_id, team = agent(), f"org-{uuid4()}", f"team-{uuid4()}"
    whose = {"org_id": org_id, "owner_team_id": team}
    levels = (("AGENT", name, 10**6), ("TEAM", team, 10**6), ("ORGANISATION", org_id, 300))
    budgets = [
        fleet.budget(name, limit, ("1", "TERMINATE"), org_id=org_id, scope=scope, scope_id=scope_id)
        for scope, scope_id, limit in levels
    ]
    session_id = str(uuid4())
    started = {"agent_name": name, "initiator": "SYSTEM", "origin": "API"}
    fleet.say(session_id, events.SESSION_STARTED, started, name, **whose)
    for number in range(3):
        call = {"model_call_id": f"c{number}", "provider": "home", "model": "made", "output_tokens": 100}
        fleet.say(session_id, events.MODEL_CALL_COMPLETED, {**call, "latency_ms": 1.0}, name, **whose)
    [signal] = fleet.wait(lambda: listener.signals(session_id), "the organisation's limit is reached")
    assert (signal["kind"], signal["budget_id"]) == ("TERMINATE", budgets[2].budget_id)
    for budget in budgets:
        fleet.wait(
            lambda each=budget: total_of(listener.counters(each.budget_id).values()).tokens == 300, "it counts all"
        )
        spend = total_of(listener.counters(budget.budget_id).values())
        assert (spend.attousd, spend.unpriced_tokens) == (0, 300)


def test_a_pause_waits_for_an_approval_and_a_denial_terminates(fleet: Any, listener: Any) -> None:
    name = agent()
    budget = fleet.budget(name, 1000, ("0.5", "REQUIRE_APPROVAL"))
    approved, denied = fleet.start(name), fleet.start(name)
    fleet.call(approved, name, 500)
    for session_id, decision in ((approved, "APPROVED"), (denied, "DENIED")):
        [pause] = fleet.wait(lambda each=session_id: listener.signals(each), "the session is paused")
        assert (pause["kind"], pause["budget_id"]) == ("PAUSE", budget.budget_id)
        fleet.wait(
            lambda each=session_id: (listener.state(each) or {}).get("status") == "PENDING_APPROVAL",
            "the session is shown to wait",
        )
        decided = {"approval_id": pause["approval_id"], "decision": decision, "decided_by": "ann", "reason": "why not"}
        emitter_id = f"approval:{pause['approval_id']}"
        fleet.say(session_id, events.APPROVAL_DECIDED, decided, name, emitter_id=emitter_id, sequence=0)
    for session_id, kind in ((approved, "RESUME"), (denied, "TERMINATE")):
        _, answer = fleet.wait(
            lambda each=session_id: listener.signals(each) if len(listener.signals(each)) == 2 else None, "an answer"
        )
        assert (answer["kind"], answer["cause"], answer["requested_by"]) == (kind, "APPROVAL", "ann")
        assert answer["reason"] == "why not"
    fleet.wait(lambda: listener.state(approved)["status"] == "RUNNING", "the approved session goes on")


def test_what_nobody_decides_settles_itself(fleet: Any, listener: Any) -> None:
    name, other = agent(), agent()
    budget = fleet.budget(name, 1000, ("0.5", "REQUIRE_APPROVAL"))
    asking, paused = fleet.start(other), fleet.start(name)
    request = {"approval_id": "own", "reason": "may I?", "expires_at": now_us()}
    fleet.say(asking, events.APPROVAL_REQUESTED, request, other)
    fleet.call(paused, name, 500)
    [pause] = fleet.wait(lambda: listener.signals(paused), "the session is paused")
    fleet.wait(
        lambda: (listener.state(paused) or {}).get("status") == "PENDING_APPROVAL", "the session is shown to wait"
    )
    fleet.define(replace(budget, limit=Decimal(2000), version=2))
    for session_id, approval_id, decision in ((paused, pause["approval_id"], "APPROVED"), (asking, "own", "EXPIRED")):
        [resume] = fleet.wait(
            lambda each=session_id: [signal for signal in listener.signals(each) if signal["kind"] == "RESUME"],
            f"it is {decision}",
        )
        assert (resume["approval_id"], resume["decision"]) == (approval_id, decision)
        assert resume["requested_by"] == "procurator.stream"
    fleet.wait(lambda: listener.state(asking)["status"] == listener.state(paused)["status"] == "RUNNING", "both go on")
    assert not [each for each in (asking, paused) if "decision_without_request" in listener.state(each)["flags"]]


def test_a_busy_session_beyond_its_timeout_ends(fleet: Any, listener: Any) -> None:
    name = agent()
    session_id = fleet.start(name, timeout_s=1)
    started_us = now_us()
    signalled: list[dict[str, Any]] = []
    while not signalled:
        fleet.call(session_id, name, 1)
        signalled = listener.signals(session_id)
        assert now_us() - started_us < 60_000_000, "no signal"
        time.sleep(0.005)  # busy, and no flood
    assert (signalled[0]["cause"], signalled[0]["terminal_status"]) == ("TIMEOUT", "TIMEOUT")
    assert signalled[0]["requested_at"] >= started_us + 900_000
    state = fleet.wait(lambda: ended(listener, session_id), "the session ends")
    assert state["status"] == "TIMEOUT"


def test_children_follow_their_parent(fleet: Any, listener: Any) -> None:
    name = agent()
    parent = fleet.start(name)
    child = fleet.start(name, origin="A2A", parent_session_id=parent)
    grandchild = fleet.start(name, origin="A2A", parent_session_id=child)
    fleet.wait(lambda: listener.state(grandchild), "the family is known")
    order = signals.terminate_by("ann", parent, "acme", "enough", now_us())
    fleet.put(CONTROL, parent, order)
    fleet.put(CONTROL, parent, order)
    for session_id in (child, grandchild):
        [signal] = fleet.wait(lambda each=session_id: listener.signals(each), "the child is told")
        assert (signal["kind"], signal["cause"], signal["requested_by"]) == ("TERMINATE", "PARENT", "ann")
    orphan = fleet.start(name, origin="A2A", parent_session_id=parent)
    fleet.wait(lambda: listener.signals(orphan), "a child that comes later is told")
    assert SESSION_STATE.name in listener.heard
