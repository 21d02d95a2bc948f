"""Turns, calls and entries of a session, on a real ledger."""

from datetime import datetime
from hashlib import sha256
from typing import Any

import pytest
from fastapi.testclient import TestClient

from procurator.clock import to_us
from procurator.leaf import entry_leaf_hash

_TEXTS = [
    "",
    " \t leading and trailing \r\n\r\n",
    "NUL \0 and BEL \7",
    "quotes \" ' ` \\ {x:String} %s ; --",
    "line\u2028separators\u2029 and \x85 and \x0b",
    "e\u0301 is not \u00e9",
    "\U0001f9fe 領収書 ‮right to left‬ \ufeff \uffff",
    "x" * 300_000,
]


def _items(client: TestClient, run: Any, part: str, **params: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = (
            client.get(f"/v1/sessions/{run.session_id}/{part}", params={**params, **cursor}).raise_for_status().json()
        )
        items += page["items"]
        if page["next_cursor"] is None:
            return items
        cursor = {"cursor": page["next_cursor"]}


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_turns_come_back_exactly(ledger: Any, client: TestClient, new_runtime: Any, limit: int) -> None:
    run = new_runtime()
    ledger.add(run.start(), *(run.turn(index, text, thinking=text[::-1]) for index, text in enumerate(_TEXTS)))
    turns = _items(client, run, "turns", limit=limit)
    assert [(turn["turn_index"], turn["content"], turn["thinking"]) for turn in turns] == [
        (index, text, text[::-1]) for index, text in enumerate(_TEXTS)
    ]


def test_a_turn_has_the_tokens_of_its_model_calls(ledger: Any, client: TestClient, new_runtime: Any) -> None:
    run = new_runtime()
    ledger.add(
        run.turn(1, "answer", model_call_id="m2"),
        run.turn(0, "question", "USER"),
        run.model_call(1, "m1", model="gpt-4o-mini", input_tokens=10, output_tokens=1),
        run.model_call(1, "m2", input_tokens=100, cached_input_tokens=20, output_tokens=3, reasoning_tokens=4),
        run.model_call(2, "m3", input_tokens=1_000),
        {**run.turn(2, "guess"), "estimated": ["occurred_at"]},
    )
    question, answer, guess = _items(client, run, "turns")
    assert (question["model"], question["total_tokens"], question["cost_usd"]) == (None, 0, None)
    assert (answer["model"], answer["provider"], answer["model_calls"]) == ("gpt-4o", "openai", 2)
    assert (answer["total_input_tokens"], answer["total_output_tokens"]) == (130, 8)
    calls = _items(client, run, "model-calls")
    assert float(answer["cost_usd"]) == pytest.approx(sum(float(call["cost_usd"]) for call in calls[:2]), rel=1e-12)
    assert guess["estimated"] == ["occurred_at"]
    assert answer["timestamp"].endswith("Z")
    assert len(answer["timestamp"]) == len("2026-11-22T16:08:00.000000Z")


def test_repeated_turns_do_not_show_but_turns_of_one_index_do(
    ledger: Any, client: TestClient, new_runtime: Any
) -> None:
    run = new_runtime()
    first, second = run.turn(0, "first"), run.turn(0, "second")
    ledger.add(first, second)
    ledger.add(first)
    ledger.add(run.turn(1, "elsewhere"), misplaced=True)
    assert [turn["content"] for turn in _items(client, run, "turns", limit=1)] == ["first", "second"]
    assert sorted(entry["flags"] for entry in _items(client, run, "events")) == [[], [], ["misplaced"], ["repeated"]]


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_starts_and_completions_are_one_call(ledger: Any, client: TestClient, new_runtime: Any, limit: int) -> None:
    run = new_runtime()
    ledger.add(
        run.tool_start(0, "call_0", input='{"n": 1}', timeout_ms=30_000.0, mcp_server_id="orders"),
        run.tool_start(0, "other", input="[]"),
        run.tool_end(0, "call_0", output='"one"'),
        run.tool_end(0, "lost start", status="TIMEOUT", timeout_ms=5.0),
        run.tool_start(1, "call_0", input='{"n": 2}'),
        run.tool_end(1, "call_0", status="ERROR", error_message="no such order", output=None),
        run.tool_start(2, "call_0", input='{"n": 3}'),
    )
    calls = _items(client, run, "tool-calls", limit=limit)
    assert [(call["tool_call_id"], call["status"], call["input"], call["output"]) for call in calls] == [
        ("call_0", "SUCCESS", '{"n": 1}', '"one"'),
        ("other", None, "[]", None),
        ("lost start", "TIMEOUT", None, None),
        ("call_0", "ERROR", '{"n": 2}', None),
        ("call_0", None, '{"n": 3}', None),
    ]
    first, opened, lost, failed, _ = calls
    assert (first["timeout_ms"], first["latency_ms"], first["mcp_server_id"]) == (30_000, 5, "orders")
    assert (opened["completed_at"], opened["latency_ms"], opened["mcp_server_id"]) == (None, None, None)
    assert (lost["started_at"], lost["timeout_ms"]) == (None, 5)
    assert (failed["error_message"], failed["turn_index"]) == ("no such order", 1)


def test_model_calls_show_what_answered(ledger: Any, client: TestClient, new_runtime: Any) -> None:
    run = new_runtime()
    started = {"provider": "openai", "model": "gpt-4o-latest", "turn_index": 0}
    ledger.add(
        run.event("ModelCallStarted", model_call_id="m1", **started),
        run.event("ModelCallStarted", model_call_id="m2", **started),
        run.model_call(0, "m1", model="gpt-4o", input_tokens=5, first_token_ms=2.5),
        run.model_call(0, "m3", model="no such model", input_tokens=5),
    )
    answered, opened, unpriced = _items(client, run, "model-calls", limit=2)
    assert (answered["model"], answered["status"], answered["first_token_ms"]) == ("gpt-4o", "SUCCESS", 2.5)
    assert answered["price_version"]
    assert answered["unpriced"] is False
    assert (opened["model"], opened["status"], opened["cost_usd"], opened["unpriced"]) == (
        "gpt-4o-latest", None, None, False
    )  # fmt: skip
    assert (unpriced["cost_usd"], unpriced["unpriced"], unpriced["price_version"]) == (None, True, None)


def test_an_entry_can_be_recomputed_by_its_reader(ledger: Any, client: TestClient, new_runtime: Any) -> None:
    run = new_runtime()
    ledger.add(run.start(), run.turn(0, "hi \0", truncations=[]), run.end())
    entries = _items(client, run, "events", limit=2)
    assert [entry["kind"] for entry in entries] == ["SessionStarted", "TurnRecorded", "SessionEnded"]
    assert [entry["sequence"] for entry in entries] == [0, 1, 2]
    for entry in entries:
        [[value]] = ledger.clickhouse.rows(
            "SELECT hex(value) FROM events WHERE log_id = {log:String} AND offset = {offset:UInt64}",
            {"log": entry["log_id"], "offset": entry["offset"]},
        )
        value = bytes.fromhex(value)
        assert entry["value_sha256"] == sha256(value).hexdigest()
        assert entry["value_bytes"] == len(value)
        broker_time_us = to_us(datetime.fromisoformat(entry["broker_time"]))
        place = (entry["log_id"], entry["leaf_index"], entry["offset"], broker_time_us)
        assert entry["leaf_hash"] == entry_leaf_hash(*place, entry["key"].encode(), value).hex()
    assert entries[1]["event"]["payload"] == {
        "kind": "TurnRecorded",
        "turn_index": 0,
        "role": "ASSISTANT",
        "content": "hi \0",
        "thinking": None,
        "tool_call_id": None,
        "model_call_id": None,
    }


def test_a_page_of_large_bodies_ends_early_and_loses_nothing(ledger: Any, client: TestClient, new_runtime: Any) -> None:
    run = new_runtime()
    for index in range(6):
        ledger.add(
            run.turn(index, chr(97 + index) * 5_000_000), run.tool_start(index, f"c{index}", input="1" * 5_000_000)
        )
    page = client.get(f"/v1/sessions/{run.session_id}/turns").json()
    assert len(page["items"]) == 4
    assert [turn["content"][0] for turn in _items(client, run, "turns")] == list("abcdef")
    assert len(client.get(f"/v1/sessions/{run.session_id}/tool-calls").json()["items"]) == 4
    assert [call["tool_call_id"] for call in _items(client, run, "tool-calls")] == [f"c{n}" for n in range(6)]
    assert [entry["sequence"] for entry in _items(client, run, "events")] == list(range(12))
