"""`procurator.stream_processors.budgets`: deadlines, lag, children, periods that are over, budgets that change."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from procurator import signals
from procurator.budgets import Budget, Counter, Spend, Threshold
from procurator.budgets.meter import Meter
from procurator.budgets.spend import Change, CounterKey
from procurator.stream_processors.budgets.enforcement import Decisions, Enforcement
from procurator.stream_processors.budgets.index import Owner
from procurator.stream_processors.budgets.sessions import OpenSession
from procurator.stream_processors.budgets.sums import PeriodKey, StatusPolicy, Sums

NOW_US = 1_790_000_000_000_000
SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
OWNER = Owner("acme", "billing", "payments")
BUDGET = Budget(
    "b1",
    "acme",
    "Billing",
    "AGENT",
    "billing",
    "TOKENS",
    Decimal(100),
    "DAY",
    "UTC",
    (Threshold(Decimal(1), "TERMINATE"),),
)


def session(session_id: str, **changes: Any) -> OpenSession:
    fields: dict[str, Any] = {
        "session_id": session_id,
        "owner": OWNER,
        "partition": 0,
        "parent_session_id": None,
        "timeout_s": None,
        "deadline_us": None,
        "spend": Spend(),
        **changes,
    }
    return OpenSession(**fields)


def counter(tokens: int, offset: int = 1, at_us: int = NOW_US, log_id: str = "log:0") -> Counter:
    key = CounterKey("b1", BUDGET.periods.at(at_us).start_us, log_id)
    return Counter(key, "acme", 0, as_of_offset=offset, spent_tokens=tokens)


@pytest.fixture
def enforcement() -> Enforcement:
    made = Enforcement(Sums(lambda _: True))
    made.define({"b1": BUDGET})
    return made


def decide(enforcement: Enforcement, now_us: int = NOW_US, folded_us: int | None = None) -> Decisions:
    return enforcement.decide(now_us, lambda _: now_us if folded_us is None else folded_us)


def test_an_unanswered_terminate_ends_the_session_after_the_grace_and_not_while_lagging(
    enforcement: Enforcement,
) -> None:
    enforcement.opened(session("s1"))
    enforcement.heard(signals.terminate_by("ann", "s1", "acme", "why", NOW_US), NOW_US)
    late_us = NOW_US + 10 * SECOND_US
    assert not decide(enforcement, late_us - 1).events
    assert not decide(enforcement, late_us, folded_us=late_us - 1).events
    [said] = decide(enforcement, late_us).events
    kind, payload = said.payload
    assert (kind, payload["status"], payload["ended_by"], payload["inferred"]) == (
        "procurator.v1.SessionEnded",
        "TERMINATED",
        "ann",
        True,
    )
    assert not decide(enforcement, late_us + SECOND_US).events
    [again] = decide(enforcement, late_us + 31 * SECOND_US).events
    assert again.emitter_id == said.emitter_id
    enforcement.ended("s1")
    assert not decide(enforcement, late_us + 90 * SECOND_US)


def test_a_timeout_is_signalled_then_inferred(enforcement: Enforcement) -> None:
    enforcement.opened(session("s1", timeout_s=5, deadline_us=NOW_US + 5 * SECOND_US))
    assert not decide(enforcement, NOW_US + 5 * SECOND_US - 1).signals
    assert not decide(enforcement, NOW_US + 60 * SECOND_US, folded_us=NOW_US).signals
    [signal] = decide(enforcement, NOW_US + 60 * SECOND_US).signals
    assert (signal["cause"], signal["terminal_status"]) == ("TIMEOUT", "TIMEOUT")
    [said] = decide(enforcement, NOW_US + 70 * SECOND_US).events
    assert said.payload[1]["status"] == "TIMEOUT"


def test_children_follow_whoever_is_terminated_first_or_starts_last(enforcement: Enforcement) -> None:
    enforcement.opened(session("child", parent_session_id="parent"))
    enforcement.opened(session("grandchild", parent_session_id="child"))
    order = signals.terminate_by("ann", "parent", "acme", "why", NOW_US)
    enforcement.heard(order, NOW_US)
    enforcement.heard(order, NOW_US)
    assert [s["session_id"] for s in decide(enforcement).signals] == ["child", "grandchild"]
    enforcement.opened(session("late", parent_session_id="parent"))
    assert [s["session_id"] for s in decide(enforcement).signals] == ["late"]


def test_a_period_that_is_over_acts_on_nobody(enforcement: Enforcement) -> None:
    enforcement.opened(session("s1"))
    enforcement.sums.merge([counter(100, at_us=NOW_US - DAY_US)])
    decisions = decide(enforcement)
    assert not decisions.signals
    assert [status.exhausted for status in decisions.statuses if status.spend.tokens] == [True]
    enforcement.sums.merge([counter(60), counter(40, log_id="log:1")])
    assert [s["session_id"] for s in decide(enforcement).signals] == ["s1"]
    enforcement.opened(session("tomorrow"))
    assert not decide(enforcement, NOW_US + DAY_US).signals


def test_a_changed_definition_applies_to_what_runs(enforcement: Enforcement) -> None:
    enforcement.opened(session("s1"))
    enforcement.sums.merge([counter(50)])
    assert not decide(enforcement).signals
    enforcement.define({"b1": replace(BUDGET, limit=Decimal(50), dry_run=True, version=2)})
    shown = decide(enforcement)
    assert not shown.signals
    assert [crossing.dry_run for crossing in shown.statuses[-1].crossed] == [True]
    enforcement.define({"b1": replace(BUDGET, limit=Decimal(50), version=3)})
    assert [s["kind"] for s in decide(enforcement).signals] == ["TERMINATE"]
    enforcement.define({"b1": None})
    enforcement.opened(session("s2"))
    assert not decide(enforcement).signals


def test_statuses_are_published_at_once_when_crossings_change_and_else_now_and_then() -> None:
    sums = Sums(lambda _: True, StatusPolicy(interval_us=SECOND_US))
    sums.define({"b1": BUDGET})

    def published(tokens: int, now_us: int) -> list[int]:
        sums.merge([counter(tokens, offset=tokens)])
        sums.evaluate(now_us)
        return [status.spend.tokens for status in sums.take(now_us)]

    assert published(1, NOW_US) == [1]
    assert published(2, NOW_US + 1) == []
    assert published(3, NOW_US + SECOND_US) == [3]
    assert published(100, NOW_US + SECOND_US + 1) == [100]


def test_a_reservation_made_before_a_counter_began_is_not_released_from_it() -> None:
    meter = Meter("log:0")
    other = Change(NOW_US, reserved_tokens=70)
    spend, release = Change(NOW_US, tokens=5), Change(NOW_US, reserved_tokens=-50, since_offset=1)
    meter.count(3, [BUDGET], (other,))
    [counted] = meter.count(4, [BUDGET], (spend, release))
    assert (counted.spent_tokens, counted.reserved_tokens, counted.from_offset) == (5, 70, 3)
    assert meter.count(4, [BUDGET], (spend,)) == []


def test_what_nothing_can_be_added_to_any_more_is_forgotten() -> None:
    sums = Sums(lambda _: True, StatusPolicy(kept_us=DAY_US))
    sums.define({"b1": BUDGET})
    meter = Meter("log:0")
    sums.merge(meter.count(1, [BUDGET], (Change(NOW_US, tokens=5),)))
    sums.evaluate(NOW_US)
    [old] = [PeriodKey("b1", status.period.start_us) for status in sums.take(NOW_US)]
    meter.take()

    def sweep(now_us: int) -> tuple[list[PeriodKey], list[CounterKey]]:
        sums.sweep(now_us)
        meter.forget(lambda key: sums.is_over(PeriodKey(key.budget_id, key.period_start_us), now_us))
        return sums.take_forgotten(), [key for key, counter in meter.take().items() if counter is None]

    end_us = BUDGET.periods.at(NOW_US).end_us
    assert end_us is not None
    assert sweep(end_us + DAY_US) == ([], [])
    assert sweep(end_us + DAY_US + 1) == ([old], [CounterKey("b1", old.start_us, "log:0")])
    assert sweep(end_us + DAY_US + 2) == ([], [])
    sums.merge(meter.count(2, [BUDGET], (Change(NOW_US + 9 * DAY_US, tokens=5),)))
    sums.evaluate(NOW_US + 9 * DAY_US)
    meter.take()
    sums.define({"b1": None})
    assert [len(gone) for gone in sweep(NOW_US + 9 * DAY_US)] == [1, 1], "a deleted budget is forgotten at once"


def test_a_status_of_a_budget_deleted_while_nobody_listened_is_taken_out() -> None:
    sums = Sums(lambda budget_id: budget_id == "b1")
    for name in ("b1", "another worker's"):
        sums.crossed_since(PeriodKey(name, 0), {})
    sums.sweep(NOW_US)
    assert sums.take_forgotten() == [PeriodKey("b1", 0)]
