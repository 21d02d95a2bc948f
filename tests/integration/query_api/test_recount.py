"""`procurator reconcile` on a real ledger: silent when all is well, and it finds what was edited."""

import json
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from procurator.cli import build_app
from procurator.clickhouse import ClickHouse
from procurator.clock import now_us
from procurator.config import Settings
from procurator.errors import Unavailable
from procurator.reconcile import FIELDS, Difference, Policy, RangeReport, reconcile

_CORRECTION = {
    "provider": "openai",
    "model": "gpt-4o",
    "corrects_offset": 0,
    "charged_at": 0,
    "price_version": "v2",
    "corrected_by": "ann",
}
_LONG_AGO = now_us() - 3_600_000_000


@pytest.fixture
def compare(ledger: Any) -> Callable[..., RangeReport]:
    """Compares the whole ledger, in ranges of a few entries, and returns the sum of the reports."""

    def compare(lag_s: int = 60) -> RangeReport:
        reports = list(reconcile(ledger.clickhouse.rows, Policy(lag_s=lag_s, range_entries=7)))
        return RangeReport(
            sum(report.sessions for report in reports),
            sum(report.entries for report in reports),
            sum(report.pending for report in reports),
            [difference for report in reports for difference in report.differences],
        )

    return compare


@pytest.fixture(autouse=True)
def _begin_empty(ledger: Any) -> None:
    ledger.begin_again()


def _believable(run: Any) -> list[dict[str, Any]]:
    """A session that has everything the recount counts, oddities included."""
    turn = run.turn(0, "hi", "USER")
    return [
        run.start(),
        turn,
        turn,  # repeated
        run.event("ModelCallStarted", model_call_id="m1", provider="openai", model="gpt-4o", turn_index=1),
        run.model_call(1, "m1", input_tokens=10, cached_input_tokens=3, output_tokens=2, reasoning_tokens=1),
        run.model_call(1, "m2", model="no such model", input_tokens=5, cache_write_tokens=4),
        run.model_call(1, "m3", reported_cost_usd=b"\x01\x02"),
        run.tool_start(1, "call_0"),
        run.tool_start(1, "call_0"),  # again while it is open: counted once
        run.tool_end(1, "call_0", status="ERROR"),
        run.tool_start(2, "call_0"),  # the id again, later: another call
        run.tool_end(2, "call_0", status="TIMEOUT"),
        run.tool_end(2, "call_0"),  # its start was lost, and stands after it
        run.tool_start(2, "call_0"),
        run.tool_end(2, "call_9", status="CANCELLED"),
        run.event("Heartbeat", idle_ms=30_000),
        run.event("CostCorrected", **_CORRECTION, model_call_id="m1", difference_usd=b"\xfe", newly_priced_tokens=None),
        run.event("CostCorrected", **_CORRECTION, model_call_id="m2", difference_usd=b"\x07", newly_priced_tokens=9),
        {**run.end(), "sequence": run.sequence + 2},  # two numbers are missing
    ]


def _two_emitters(run: Any) -> list[dict[str, Any]]:
    other = type(run)(run.session_id, emitter_id="api", sequence=3)
    return [run.start(), other.turn(0, "hi"), run.turn(1, "ho"), {**other.turn(2, "he"), "org_id": "beta"}]


def test_nothing_to_compare_is_no_difference(compare: Callable[..., RangeReport]) -> None:
    assert compare() == RangeReport(0, 0, 0, [])


def test_states_and_recount_agree_whatever_the_records_are(
    ledger: Any, new_runtime: Any, compare: Callable[..., RangeReport]
) -> None:
    for make in [_believable, _two_emitters] * 10:
        run = new_runtime()
        ledger.add(*make(run))
        ledger.publish(run.session_id)
        ledger.add(run.turn(9, "elsewhere"), misplaced=True)
    report = compare()
    assert report.differences == []
    assert (report.sessions, report.entries) == (20, 10 * (20 + 5))


def test_a_state_behind_the_ledger_is_compared_where_it_stands(
    ledger: Any, new_runtime: Any, compare: Callable[..., RangeReport]
) -> None:
    run = new_runtime()
    ledger.add(*_believable(run))
    ledger.publish(run.session_id, events=8)
    assert compare().differences == []
    assert [(found.field, found.session_id) for found in compare(lag_s=0).differences] == [
        ("as_of_offset", run.session_id)
    ]


def test_a_state_ahead_of_the_ledger_is_pending_then_wrong(
    ledger: Any, new_runtime: Any, compare: Callable[..., RangeReport]
) -> None:
    run = new_runtime()
    ledger.add(*_believable(run))
    ledger.publish(run.session_id)
    ledger.clickhouse.execute("ALTER TABLE events DELETE WHERE kind = 'SessionEnded' SETTINGS mutations_sync = 1")
    report = compare()
    assert (report.pending, report.differences) == (1, [])
    assert {found.field for found in compare(lag_s=0).differences} == {
        "as_of_offset", "last_activity_at", "events", "missing_events"
    }  # fmt: skip


@pytest.mark.parametrize("missing", ["events", "sessions"])
def test_a_session_that_one_side_lacks(
    ledger: Any, new_runtime: Any, compare: Callable[..., RangeReport], missing: str
) -> None:
    run = new_runtime()
    ledger.add(run.start(), run.turn(0, "hi"))
    record = ledger.publish(run.session_id)
    ledger.clickhouse.execute(f"TRUNCATE TABLE {missing}")
    assert compare().differences == [], "it is younger than the lag"
    expected = (None, "2 events") if missing == "sessions" else (f"as of offset {record['as_of_offset']}", None)
    assert compare(lag_s=0).differences == [Difference(run.session_id, "session", *expected)]


def test_a_session_that_is_overdue(ledger: Any, new_runtime: Any, compare: Callable[..., RangeReport]) -> None:
    run = new_runtime()
    ledger.add(run.start(), broker_time_us=_LONG_AGO)
    assert compare().differences == [Difference(run.session_id, "session", None, "1 events")]


def test_an_edited_state_is_found_whatever_the_field(
    ledger: Any, new_runtime: Any, compare: Callable[..., RangeReport]
) -> None:
    edited = {name: new_runtime() for name in FIELDS if name != "as_of_offset"}
    for run in [*edited.values(), new_runtime()]:
        ledger.add(*_believable(run))
        ledger.publish(run.session_id)
    texts = ("org_id", "agent_id", "owner_team_id")
    edits = [
        f"{name} = if(session_id = '{run.session_id}', {name} {'||' if name in texts else '+'} 1, {name})"
        for name, run in edited.items()
    ]
    ledger.clickhouse.execute(f"ALTER TABLE sessions UPDATE {', '.join(edits)} WHERE true SETTINGS mutations_sync = 1")
    report = compare()
    assert {found.field: found.session_id for found in report.differences} == {
        name: run.session_id for name, run in edited.items()
    }
    assert len(report.differences) == len(edited)


def test_an_edited_entry_is_found(ledger: Any, new_runtime: Any, compare: Callable[..., RangeReport]) -> None:
    run = new_runtime()
    ledger.add(*_believable(run))
    ledger.publish(run.session_id)
    ledger.clickhouse.execute(
        "ALTER TABLE events UPDATE cost_usd = cost_usd + 0.000000000000000001"
        " WHERE model_call_id = 'm1' AND cost_usd IS NOT NULL SETTINGS mutations_sync = 1"
    )
    [found] = compare().differences
    assert found.field == "cost_usd"


def _run(monkeypatch: pytest.MonkeyPatch, settings: Settings, *arguments: str) -> Result:
    monkeypatch.setattr("procurator.cli.reconcile.settings", lambda: settings)
    return CliRunner().invoke(build_app(), ["reconcile", *arguments])


def test_the_command_answers_and_exits_accordingly(
    ledger: Any, new_runtime: Any, reader_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = _run(monkeypatch, reader_settings)
    assert empty.exit_code == 0
    assert empty.stdout.startswith("0 sessions, 0 entries: 0 differences, 0 pending; ")
    run = new_runtime(org_id="recounted")  # other tests on this Kafka have budgets on theirs, and no worker counts here
    ledger.add(*_believable(run))
    ledger.publish(run.session_id)
    agreed = _run(monkeypatch, reader_settings)
    assert agreed.exit_code == 0, agreed.stdout
    ledger.clickhouse.execute("ALTER TABLE sessions UPDATE turns = 99 WHERE true SETTINGS mutations_sync = 1")
    found = _run(monkeypatch, reader_settings)
    assert found.exit_code == 1
    assert "99" in found.stdout
    answer = json.loads(_run(monkeypatch, reader_settings, "--json").stdout)
    assert answer == {
        "sessions": 1,
        "entries": 19,
        "pending": 0,
        "differences": 1,
        "budget_counters": 0,
        "budgets_pending": 0,
        "budget_differences": 0,
        "purged_cost_usd": "0",
        "purged_entries": 0,
        "purged_sessions": 0,
        "items": [{"session_id": run.session_id, "field": "turns", "state": "99", "ledger": "1"}],
        "budget_items": [],
    }


def test_without_clickhouse_it_cannot_tell() -> None:
    away = ClickHouse("http://127.0.0.1:9", "reader", "", "procurator")
    with closing(away), pytest.raises(Unavailable, match="does not answer"):
        list(reconcile(away.rows, Policy()))
