"""Approvals that settle themselves: a raised limit, a new period, a budget that is gone, a request that lapses."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from procurator import signals
from procurator.budgets import Budget, Counter, Spend, Threshold
from procurator.budgets.spend import CounterKey
from procurator.stream_processors.budgets.enforcement import Decisions, Enforcement
from procurator.stream_processors.budgets.index import Owner
from procurator.stream_processors.budgets.sessions import OpenSession
from procurator.stream_processors.budgets.sums import Sums

NOW_US = 1_790_000_000_000_000
SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
OWNER = Owner("acme", "billing", "payments")
ASKS = (Threshold(Decimal("0.5"), "REQUIRE_APPROVAL"), Threshold(Decimal(1), "TERMINATE"))
BUDGET = Budget("b1", "acme", "Billing", "AGENT", "billing", "TOKENS", Decimal(100), "DAY", "UTC", ASKS)


@pytest.fixture
def enforcement() -> Enforcement:
    made = Enforcement(Sums(lambda _: True))
    made.define({"b1": BUDGET})
    made.opened(OpenSession("s1", OWNER, 0, None, None, None, Spend()))
    return made


def decide(enforcement: Enforcement, now_us: int = NOW_US, folded_us: int | None = None) -> Decisions:
    return enforcement.decide(now_us, lambda _: now_us if folded_us is None else folded_us)


def paused(enforcement: Enforcement, tokens: int = 60) -> str:
    """Let the session spend, be paused, and have its request in its log; return the approval's id."""
    key = CounterKey("b1", BUDGET.periods.at(NOW_US).start_us, "log:0")
    enforcement.sums.merge([Counter(key, "acme", 0, as_of_offset=tokens, spent_tokens=tokens)])
    decisions = decide(enforcement)
    [signal], [said] = decisions.signals, decisions.events
    assert signal["kind"] == signals.PAUSE
    enforcement.asked("s1", said.payload[1]["approval_id"], said.payload[1]["expires_at"])
    assert not decide(enforcement).events
    approval_id: str = signal["approval_id"]
    return approval_id


def said(decisions: Decisions) -> list[tuple[str, dict[str, Any]]]:
    return [(said.emitter_id, said.payload[1]) for said in decisions.events]


CHANGES: dict[str, Budget | None] = {
    "a raised limit": replace(BUDGET, limit=Decimal(200), version=2),
    "switched off": replace(BUDGET, active=False, version=2),
    "a dry run": replace(BUDGET, dry_run=True, version=2),
    "deleted": None,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_budget_that_no_longer_asks_lets_its_sessions_go_on(enforcement: Enforcement, change: str) -> None:
    approval_id = paused(enforcement)
    enforcement.define({"b1": CHANGES[change]})
    [(emitter_id, payload)] = said(decide(enforcement))
    assert emitter_id == signals.decision_emitter(approval_id)
    assert (payload["approval_id"], payload["decision"]) == (approval_id, "APPROVED")
    assert payload["decided_by"] == "procurator.stream"
    assert not decide(enforcement), "it is said once"
    enforcement.decided("s1", payload, NOW_US)
    enforcement.decided("s1", payload, NOW_US)
    [signal] = decide(enforcement).signals
    assert (signal["kind"], signal["approval_id"]) == (signals.RESUME, approval_id)


def test_a_raised_limit_that_is_crossed_as_well_asks_anew_before_it_lets_go(enforcement: Enforcement) -> None:
    before = paused(enforcement, tokens=90)
    enforcement.define({"b1": replace(BUDGET, limit=Decimal(120), version=2)})
    decisions = decide(enforcement)
    [again] = decisions.signals
    assert (again["kind"], again["approval_id"] == before) == (signals.PAUSE, False)
    assert [payload["approval_id"] for _, payload in said(decisions)] == [again["approval_id"], before]


def test_a_renamed_budget_asks_as_before(enforcement: Enforcement) -> None:
    paused(enforcement)
    enforcement.define({"b1": replace(BUDGET, name="Other", version=2)})
    assert not decide(enforcement).events


def test_a_new_period_lets_go_and_the_old_one_does_not(enforcement: Enforcement) -> None:
    approval_id = paused(enforcement)
    end_us = BUDGET.periods.at(NOW_US).end_us
    assert end_us is not None
    assert not decide(enforcement, end_us - 1).events
    assert [payload["approval_id"] for _, payload in said(decide(enforcement, end_us))] == [approval_id]


def test_a_restarted_worker_finds_again_what_is_no_longer_asked(enforcement: Enforcement) -> None:
    approval_id = paused(enforcement)
    successor = Enforcement(Sums(lambda _: True))
    successor.define({"b1": replace(BUDGET, limit=Decimal(200), version=2)})
    successor.opened(OpenSession("s1", OWNER, 0, None, None, None, Spend(), {approval_id: None, "own": None}))
    assert [payload["approval_id"] for _, payload in said(decide(successor))] == [approval_id]


def test_a_request_lapses_once_its_runtime_had_the_time_to_say_so(enforcement: Enforcement) -> None:
    enforcement.asked("s1", "own", NOW_US)
    enforcement.asked("s1", "decided", NOW_US)
    lapsed_us = NOW_US + 10 * SECOND_US
    assert not decide(enforcement, lapsed_us - 1).events
    assert not decide(enforcement, lapsed_us + 1, folded_us=lapsed_us - 1).events
    enforcement.decided("s1", {"approval_id": "decided", "decision": "DENIED", "decided_by": "", "reason": ""}, NOW_US)
    [(emitter_id, payload)] = said(decide(enforcement, lapsed_us + 1))
    assert (emitter_id, payload["decision"]) == ("approval:own", "EXPIRED")
    assert not decide(enforcement, lapsed_us + DAY_US).events
