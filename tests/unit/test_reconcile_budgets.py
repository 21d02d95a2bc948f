"""`procurator.reconcile_budgets`: what is told of counters and statuses; the statement runs in tests/integration."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from procurator.avro_schemas.codec import from_decimal
from procurator.budgets import Budget, Counter, Threshold
from procurator.budgets.spend import CounterKey
from procurator.reconcile import Params
from procurator.reconcile_budgets import ENDS, BudgetDifference, BudgetReport, reconcile_budgets

ASKS = (Threshold(Decimal(1), "TERMINATE"),)
BUDGET = Budget("b1", "acme", "Billing", "AGENT", "billing", "USD", Decimal(100), "LIFETIME", "UTC", ASKS)
COUNTER = Counter(CounterKey("b1", 0, "log:0"), "acme", 3, 9, 15 * 10**17, 40, 5)


def status(spent: str, position: int = 9) -> dict[str, Any]:
    positions = {"log:0": position}
    amount = from_decimal(Decimal(spent))
    return {"budget_id": "b1", "period_start": 0, "session_id": None, "positions": positions, "spent": amount}


def reconciled(
    row: list[Any], *statuses: dict[str, Any], end: int = 9, counter: Counter = COUNTER, torn: int = 0
) -> BudgetReport:
    asked: list[Params] = []

    def select(sql: str, params: Params) -> list[list[Any]]:
        if sql == ENDS:
            return [["log:0", end]]
        asked.append(params)
        return [[*row, torn]]

    report = reconcile_budgets(select, {"b1": BUDGET}, [counter], statuses)
    assert [(each["first"], each["last"], each["scope_id"]) for each in asked] in ([], [([3], [9], "billing")])
    return report


def test_a_counter_that_is_the_recount_is_no_difference() -> None:
    assert reconciled(["log:0", "1.500", 40, 5], status("1.5")) == BudgetReport(1, 0, [])


@pytest.mark.parametrize(
    ("row", "differs"),
    [
        (["log:0", "1.5000001", 40, 5], ("spent_usd", "1.5", "1.5000001")),
        (["log:0", "1.5", 41, 5], ("spent_tokens", "40", "41")),
        (["log:0", "1.5", 40, 0], ("unpriced_tokens", "5", "0")),
    ],
)
def test_each_amount_is_compared(row: list[Any], differs: tuple[str, str, str]) -> None:
    [difference] = reconciled(row).differences
    assert difference == BudgetDifference("b1", 0, "log:0", *differs)


def test_a_counter_is_pending_that_began_in_the_middle_of_purged_totals() -> None:
    assert reconciled(["log:0", "9", 40, 5], torn=1) == BudgetReport(1, 1, [])


def test_a_counter_is_pending_until_the_ledger_has_come_to_it() -> None:
    assert reconciled(["log:0", "0", 0, 0], end=8) == BudgetReport(1, 1, [])


def test_a_status_is_the_sum_of_its_counters() -> None:
    right = ["log:0", "1.5", 40, 5]
    [difference] = reconciled(right, status("1.4")).differences
    assert difference == BudgetDifference("b1", 0, None, "spent", "1.4", "1.5")
    assert not reconciled(right, status("1.4", position=8)).differences, "the counters have gone on"


def test_counters_of_a_budget_that_is_gone_are_left() -> None:
    other = replace(COUNTER, key=CounterKey("gone", 0, "log:0"))
    assert reconciled([], counter=other) == BudgetReport(0, 0, [])
