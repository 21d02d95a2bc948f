"""`procurator.budgets.status` and `…actions`: what is crossed, since when, and which signal follows."""

from decimal import Decimal
from typing import Any

import pytest

from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.budgets import Budget, Period, Spend, Threshold
from procurator.budgets.actions import signal_of
from procurator.budgets.records import since_in_record, status_to_record
from procurator.budgets.status import crossed_now, status_of

USD = 10**18
SESSION_ID = "0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d"
DAY = Period(0, 86_400_000_000)
STATUS = load_schema("budget_status")


def budget(**changes: Any) -> Budget:
    fields: dict[str, Any] = {
        "budget_id": "b1",
        "org_id": "acme",
        "name": "Billing",
        "scope": "AGENT",
        "scope_id": "billing",
        "unit": "USD",
        "limit": Decimal(10),
        "period": "DAY",
        "time_zone": "UTC",
        "thresholds": (
            Threshold(Decimal("0.5"), "NOTIFY"),
            Threshold(Decimal("0.8"), "REQUIRE_APPROVAL"),
            Threshold(Decimal(1), "TERMINATE"),
        ),
        **changes,
    }
    return Budget(**fields)


@pytest.mark.parametrize(
    ("spend", "crossed"),
    [
        (Spend(5 * USD - 1), []),
        (Spend(5 * USD), [0]),
        (Spend(10 * USD), [0, 1, 2]),
        (Spend(4 * USD, reserved_attousd=USD), [0]),
        (Spend(9 * USD, reserved_attousd=100 * USD), [0, 1]),
        (Spend(0, tokens=10**9, unpriced_tokens=10**9), []),
    ],
)
def test_a_reservation_may_notify_or_pause_and_never_terminates(spend: Spend, crossed: list[int]) -> None:
    assert crossed_now(budget(), spend) == crossed


def test_tokens_count_whether_they_have_a_price_or_not() -> None:
    tokens = budget(unit="TOKENS", limit=Decimal(1000))
    assert crossed_now(tokens, Spend(0, tokens=1000, unpriced_tokens=1000)) == [0, 1, 2]


def test_a_crossing_keeps_its_time_while_it_stands() -> None:
    first = status_of(budget(), DAY, Spend(6 * USD), {}, {}, 100)
    record = Decoder(STATUS, lambda _: STATUS.text).decode(STATUS.encode(status_to_record(first), 1))
    assert since_in_record(record) == first.since
    second = status_of(budget(), DAY, Spend(10 * USD), {"log:0": 7}, first.since, 200)
    assert [crossing.crossed_at_us for crossing in second.crossed] == [100, 200, 200]
    assert (first.exhausted, second.exhausted) == (False, True)
    raised = status_of(budget(limit=Decimal(100)), DAY, Spend(10 * USD), {}, second.since, 300)
    assert raised.crossed == ()


def test_a_dry_run_shows_and_refuses_nobody() -> None:
    shown = status_of(budget(dry_run=True), DAY, Spend(10 * USD), {}, {}, 100)
    assert [crossing.dry_run for crossing in shown.crossed] == [True, True, True]
    assert not shown.exhausted
    assert crossed_now(budget(active=False), Spend(10 * USD)) == []


def test_a_signals_id_follows_from_its_cause() -> None:
    def signal(changed: Budget, index: int, session_id: str = SESSION_ID, now_us: int = 1) -> dict[str, Any]:
        return signal_of(changed, DAY, index, 10 * USD, session_id, now_us)

    terminate = signal(budget(), 2)
    assert terminate["kind"] == "TERMINATE"
    assert terminate["reason"] == (
        "budget 'Billing': 10 of 10 USD were spent today, 100% of the limit asks to terminate"
    )
    same = [signal(budget(), 2, now_us=99), signal(budget(name="Renamed", version=2), 2)]
    assert {other["signal_id"] for other in same} == {terminate["signal_id"]}
    others = [signal(budget(), 1), signal(budget(limit=Decimal(9)), 2), signal(budget(budget_id="b2"), 2)]
    assert len({terminate["signal_id"], *(other["signal_id"] for other in others)}) == 4
    pause = others[0]
    assert (pause["kind"], pause["approval_id"]) == ("PAUSE", f"budget:{pause['signal_id']}")
