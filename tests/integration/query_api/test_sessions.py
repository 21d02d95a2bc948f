"""The session list and the detail, on a real ledger."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from procurator.query_api.models.sessions import Session


def _walk(client: TestClient, path: str, limit: int, **kwargs: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    cursor = None
    while True:
        params = {"limit": limit} if cursor is None else {"limit": limit, "cursor": cursor}
        page = client.get(path, params=params, **kwargs).raise_for_status().json()
        items += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return items


def test_a_session_is_readable_before_its_state_is_published(ledger: Any, client: TestClient, new_runtime: Any) -> None:
    run = new_runtime()
    ledger.add(run.start(labels={"customer": "4711"}), run.turn(0, "hi", "USER"), run.tool_start(1, "c1"))
    detail = client.get(f"/v1/sessions/{run.session_id}").raise_for_status().json()
    assert (detail["status"], detail["turns"], detail["tool_calls"]) == ("RUNNING", 1, 1)
    assert detail["labels"] == {"customer": "4711"}
    assert detail["duration_ms"] is None
    assert [call["call_id"] for call in detail["open_calls"]] == ["c1"]
    assert run.session_id not in {item["session_id"] for item in _walk(client, "/v1/sessions", 1000)}


def test_events_after_the_published_state_are_folded_on(ledger: Any, client: TestClient, new_runtime: Any) -> None:
    run = new_runtime()
    ledger.add(run.start(), run.turn(0, "hi", "USER"))
    ledger.publish(run.session_id, events=1)
    tokens = {"input_tokens": 1000, "cached_input_tokens": 200, "output_tokens": 10, "reasoning_tokens": 5}
    ledger.add(run.model_call(1, "m1", **tokens), run.model_call(1, "m2", model="no such model", input_tokens=7))
    error = {"type": "Loop", "message": "too many turns", "stack": None}
    ledger.add(run.end("FAILED", error=error, reason="looped"))
    detail = client.get(f"/v1/sessions/{run.session_id}").raise_for_status().json()
    assert (detail["status"], detail["turns"], detail["model_calls"]) == ("FAILED", 1, 2)
    assert detail["error"] == error
    assert (detail["total_input_tokens"], detail["total_output_tokens"], detail["total_tokens"]) == (1207, 15, 1222)
    assert (detail["priced_calls"], detail["unpriced_calls"], detail["unpriced_tokens"]) == (1, 1, 7)
    assert float(detail["cost_usd"]) > 0
    assert detail["duration_ms"] == 4000.004
    assert detail["as_of_offset"] > 0


def test_list_and_detail_say_the_same_of_a_published_session(ledger: Any, client: TestClient, new_runtime: Any) -> None:
    run = new_runtime()
    ledger.add(run.start(labels={"ü": "\t'"}), run.model_call(0, "m1", input_tokens=3, estimated=[]), run.end())
    ledger.publish(run.session_id)
    [item] = [item for item in _walk(client, "/v1/sessions", 1000) if item["session_id"] == run.session_id]
    detail = client.get(f"/v1/sessions/{run.session_id}").raise_for_status().json()
    assert item.pop("hits") == []  # of a search
    assert item == {name: detail[name] for name in item}
    assert set(detail) - set(item) == {"error", "open_calls", "pending_approvals"}
    assert set(item) == set(Session.model_json_schema(mode="serialization")["properties"])


def test_unpriced_is_never_shown_as_free(ledger: Any, client: TestClient, new_runtime: Any) -> None:
    run = new_runtime()
    ledger.add(run.start(), run.model_call(0, "m1", model="no such model", input_tokens=3))
    assert client.get(f"/v1/sessions/{run.session_id}").json()["cost_usd"] is None


def test_what_does_not_count_makes_no_session(ledger: Any, client: TestClient, new_runtime: Any) -> None:
    run = new_runtime()
    ledger.add(run.start(), run.turn(0, "hi"), misplaced=True)
    assert client.get(f"/v1/sessions/{run.session_id}").status_code == 404
    [entry, _] = client.get(f"/v1/sessions/{run.session_id}/events").raise_for_status().json()["items"]
    assert entry["flags"] == ["misplaced"]
    assert client.get(f"/v1/sessions/{run.session_id}/turns").json() == {"items": [], "next_cursor": None}


@pytest.mark.parametrize("part", ["", "/turns", "/tool-calls", "/model-calls", "/events"])
def test_a_session_nobody_has_heard_of(ledger: Any, client: TestClient, part: str) -> None:
    response = client.get(f"/v1/sessions/{uuid4()}{part}")
    assert response.status_code == 404
    assert "is not in the ledger" in response.json()["detail"]


def test_a_scope_ends_at_organisation_and_team(ledger: Any, client: TestClient, new_runtime: Any) -> None:
    payments, support = new_runtime(), new_runtime(owner_team_id="support")
    beta = new_runtime(org_id="beta")
    odd = new_runtime(org_id="o'\\\n\t\0ü", owner_team_id="t'\\\n\t\0")
    runs = {"payments": payments, "support": support, "beta": beta, "odd": odd}
    for run in runs.values():
        ledger.add(run.start(), run.turn(0, "secret"), run.tool_start(0, "c"), run.model_call(0, "m"))
        ledger.publish(run.session_id)
    may_see = {
        "admin": {"payments", "support", "beta", "odd"},
        "acme-all": {"payments", "support"},
        "acme-payments": {"payments"},
        "acme-no-team": set(),
        "beta-all": {"beta"},
        "odd": {"odd"},
    }
    parts = ("", "/turns", "/tool-calls", "/model-calls", "/events")
    for token, names in may_see.items():
        headers = {"Authorization": f"Bearer {token}"}
        listed = {item["session_id"] for item in _walk(client, "/v1/sessions", 1000, headers=headers)}
        assert {name for name, run in runs.items() if run.session_id in listed} == names, token
        for name, run in runs.items():
            statuses = {
                client.get(f"/v1/sessions/{run.session_id}{part}", headers=headers).status_code for part in parts
            }
            assert statuses == ({200} if name in names else {404}), (token, name)


def test_a_stranger_in_a_session_reads_only_its_own_records(ledger: Any, client: TestClient, new_runtime: Any) -> None:
    run = new_runtime()
    intruder = type(run)(run.session_id, org_id="beta", emitter_id="intruder")
    ledger.add(run.start(), run.turn(0, "secret"), intruder.turn(1, "mine"))
    ledger.publish(run.session_id)
    turns = client.get(f"/v1/sessions/{run.session_id}/turns", headers={"Authorization": "Bearer beta-all"}).json()
    assert [turn["content"] for turn in turns["items"]] == ["mine"]
    turns = client.get(f"/v1/sessions/{run.session_id}/turns", headers={"Authorization": "Bearer acme-all"}).json()
    assert [turn["content"] for turn in turns["items"]] == ["secret"]


def test_pages_are_the_list_newest_first_while_others_insert(ledger: Any, client: TestClient, new_runtime: Any) -> None:
    runs = [new_runtime() for _ in range(25)]
    for index, run in enumerate(runs):
        start = run.start()
        start["occurred_at"] += (index // 3) * 1_000_000  # some start at the same instant
        ledger.add(start)
        ledger.publish(run.session_id)
    late = new_runtime()
    ledger.add(late.turn(0, "no start was seen"))
    ledger.publish(late.session_id)
    ours = {run.session_id for run in [*runs, late]}
    whole = [item for item in _walk(client, "/v1/sessions", 1000) if item["session_id"] in ours]
    assert len(whole) == 26
    starts = [item["started_at"] for item in whole]
    assert starts[:-1] == sorted(starts[:-1], reverse=True)
    assert (starts[-1], whole[-1]["session_id"]) == (None, late.session_id)

    def insert() -> None:
        for _ in range(15):
            other = new_runtime()
            ledger.add(other.start())
            ledger.publish(other.session_id)

    with ThreadPoolExecutor(1) as pool:
        inserting = pool.submit(insert)
        for limit in (1, 7):
            walked = [item for item in _walk(client, "/v1/sessions", limit) if item["session_id"] in ours]
            assert walked == whole
        inserting.result()
