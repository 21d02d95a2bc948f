"""Spend after retention: what purged sessions had cost is still in the sums, or said to be missing."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from procurator.retention.totals import spend_totals

_QUESTIONS: tuple[dict[str, str], ...] = (
    {},
    {"group_by": "day"},
    {"group_by": "org,owner_team,agent"},
    {"group_by": "model,provider"},
    {"group_by": "month,imported"},
    {"q": "org:acme", "group_by": "agent"},
    {"q": "agent:billing -owner_team:search", "group_by": "model"},
)


@pytest.fixture(autouse=True)
def _sessions(ledger: Any, new_runtime: Any) -> Iterator[None]:
    """Six sessions, of which the first of each team is purged by `_purge`."""
    ledger.begin_again()
    for number in range(6):
        run = new_runtime(org_id="acme", owner_team_id=("payments", "search", "sales")[number % 3])
        ledger.add(
            run.start(),
            run.model_call(
                0, "m1", input_tokens=10 + number, cached_input_tokens=3, output_tokens=7, reasoning_tokens=1
            ),
            run.model_call(0, "m2", model="no such model", input_tokens=5, cache_write_tokens=4),
            run.model_call(1, "m3", model="gpt-4o-mini", input_tokens=1, reported_cost_usd=b"\x01\x02"),
            run.end(),
        )
        ledger.publish(run.session_id)
    yield
    ledger.clickhouse.execute("TRUNCATE TABLE ledger_control")


def _purge(ledger: Any) -> None:
    """What `procurator retention run` leaves of three sessions, but for the signature."""
    gone = [
        session_id
        for (session_id,) in ledger.clickhouse.rows(
            "SELECT toString(min(session_id)) FROM sessions GROUP BY owner_team_id"
        )
    ]
    totals = spend_totals(ledger.clickhouse, gone, 5 * len(gone))
    ledger.clickhouse.execute(
        "INSERT INTO ledger_control (log_id, offset, leaf_hash, broker_time, kind, body) SELECT 'control', 0,"
        " unhex(repeat('00', 32)), now64(6), 'Purge', concat('{\"purge_id\":\"', toString(generateUUIDv4()),"
        ' \'","completed":true,"totals":\', toJSONString({totals:String}), \'}\')',
        {"totals": totals},
    )
    for table in ("events", "sessions"):
        ids = ", ".join(f"'{session_id}'" for session_id in gone)
        ledger.clickhouse.execute(f"ALTER TABLE {table} DELETE WHERE session_id IN ({ids}) SETTINGS mutations_sync = 1")


def _ask(client: TestClient, **question: str) -> Any:
    return client.get("/v1/spend", params=question).raise_for_status().json()


def test_a_purge_changes_no_sum(ledger: Any, client: TestClient) -> None:
    before = [_ask(client, **question) for question in _QUESTIONS]
    assert all(report["purged"] == {"included": True, "model_calls": 0, "cost_usd": "0"} for report in before)
    _purge(ledger)
    after = [_ask(client, **question) for question in _QUESTIONS]
    for one, other in zip(before, after, strict=True):
        purged = other.pop("purged")
        assert (purged["included"], purged["model_calls"] > 0) == (True, True)
        del one["purged"]
        assert other == one


@pytest.mark.parametrize(
    "question", [{"group_by": "user"}, {"q": "cost>0"}, {"q": "status:COMPLETED"}, {"q": "model:x"}]
)
def test_what_a_purge_does_not_tell_is_said_to_be_missing(
    ledger: Any, client: TestClient, question: dict[str, str]
) -> None:
    _purge(ledger)
    report = _ask(client, **question)
    whole = _ask(client)["purged"]
    assert report["purged"] == {**whole, "included": False}
    assert report["total"]["model_calls"] <= 9
    header = client.get("/v1/spend", params={**question, "format": "csv"}).headers["X-Purged-Spend"]
    assert header == f"not included; cost_usd={whole['cost_usd']}"


def test_purged_spend_is_in_scope_alone(ledger: Any, client: TestClient) -> None:
    _purge(ledger)
    for key, calls in (("acme-payments", 3), ("acme-all", 9), ("beta-all", 0), ("acme-no-team", 0)):
        answer = client.get("/v1/spend", headers={"Authorization": f"Bearer {key}"})
        assert answer.json()["purged"]["model_calls"] == calls, key
