"""Spend where there is little or something odd to sum up; sums of ordinary sessions are in test_search.py."""

from decimal import Decimal
from typing import Any

import pytest
from starlette.testclient import TestClient

_CORRECTION = {
    "provider": "openai",
    "model": "gpt-4o",
    "turn_index": 1,
    "corrects_offset": 1,
    "charged_at": 1,
    "price_version": "v2",
    "corrected_by": "ann",
}


@pytest.fixture(autouse=True)
def _begin_empty(ledger: Any) -> None:
    ledger.begin_again()


def test_groups_that_hold_corrections_alone_are_part_of_the_total(
    ledger: Any, new_runtime: Any, client: TestClient
) -> None:
    run = new_runtime()
    ledger.add(
        run.start(),
        run.model_call(1, "m1", input_tokens=1_000, output_tokens=200),
        run.model_call(1, "m2", model="no such model", input_tokens=5),
        run.event("CostCorrected", **_CORRECTION, model_call_id="m1", difference_usd=b"\xfe", newly_priced_tokens=None),
        run.end(),
    )
    ledger.publish(run.session_id)
    report = client.get("/v1/spend?group_by=price_version").raise_for_status().json()
    groups = {one["group"]["price_version"]: one for one in report["items"]}
    correction = Decimal(-2).scaleb(-18)
    assert Decimal(groups["v2"]["cost_usd"]) == correction
    assert groups[None]["cost_usd"] is None, "what has no price costs nothing that is known"
    assert sum(Decimal(one["cost_usd"] or 0) for one in report["items"]) == Decimal(report["total"]["cost_usd"])


@pytest.mark.parametrize(("group_by", "lines"), [("day", 1), ("", 2)])
def test_nothing_spent_is_a_csv_without_groups(client: TestClient, group_by: str, lines: int) -> None:
    answer = client.get("/v1/spend", params={"group_by": group_by, "format": "csv", "agent": "nobody"})
    assert answer.raise_for_status().text.count("\r\n") == lines
    total = client.get("/v1/spend?agent=nobody").raise_for_status().json()["total"]
    assert (total["model_calls"], total["cost_usd"]) == (0, None)
