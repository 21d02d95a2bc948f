"""Test vectors of the wire protocol, for implementations in other languages: made by the code that agents run.

``python -m procurator.producers.vectors`` writes them to docs/wire-vectors.json; docs/wire-protocol.md says how to use
them. Bytes are hex, decimals too (Avro's unscaled bytes); everything else is the record's raw Avro value.
"""

import json
from typing import Any

from procurator import events, signals
from procurator.avro_schemas.codec import load_schema
from procurator.avro_schemas.encoder import Encoder
from procurator.partitioner import murmur2, partition_of
from procurator.sequences import observe
from procurator.topics import CONTROL, SESSION_EVENTS

SCHEMA_ID = 7
SESSION_ID = "0f0e0d0c-0b0a-4908-8706-050403020100"
_NOW_US = 1_795_000_000_123_456
_KEYS = (
    SESSION_ID,
    "00000000-0000-4000-8000-000000000000",
    "ffffffff-ffff-4fff-bfff-ffffffffffff",
    "",
    "a",
    "ab",
    "abc",
)
_ARRIVALS = ([0, 1, 2, 3], [0, 1, 1, 2], [0, 2, 1], [5, 0, 5, 7], [3, 3, 3])

_CALL = {"model_call_id": "model-1", "provider": "openai", "model": "gpt-4o", "turn_index": 1}
_TOOL = {
    "tool_call_id": "tool-1",
    "tool_name": "track",
    "mcp_server_id": "post",
    "turn_index": 1,
    "timeout_ms": 500.0,
}
_PAYLOADS: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        events.SESSION_STARTED,
        {
            "agent_name": "Support",
            "team_id": None,
            "team_name": None,
            "user_id": "ada",
            "initiator": "USER",
            "origin": "API",
            "schedule_id": None,
            "workflow_id": None,
            "workflow_run_id": None,
            "parent_session_id": None,
            "timeout_s": 600,
            "labels": {"channel": "web"},
            "runtime": "example/1.0",
        },
    ),
    (
        events.TURN_RECORDED,
        {
            "turn_index": 0,
            "role": "USER",
            "content": "Wo ist mein Päckchen? 📦",
            "thinking": None,
            "tool_call_id": None,
            "model_call_id": None,
        },
    ),
    (
        events.MODEL_CALL_STARTED,
        {**_CALL, "input_tokens_estimate": None, "max_output_tokens": 1024, "parameters": '{"temperature":0}'},
    ),
    (
        events.MODEL_CALL_COMPLETED,
        {
            **_CALL,
            "status": "SUCCESS",
            "error_message": None,
            "input_tokens": 120,
            "cached_input_tokens": 8192,
            "cache_write_tokens": 0,
            "output_tokens": 35,
            "reasoning_tokens": 64,
            "latency_ms": 812.5,
            "first_token_ms": 120.25,
            "reported_cost_usd": (1_250_000_000_000_000).to_bytes(8, "big"),  # 0.00125
            "finish_reason": "tool_calls",
        },
    ),
    (events.TOOL_CALL_STARTED, {**_TOOL, "input": '{"parcel":"A1"}'}),
    (
        events.TOOL_CALL_COMPLETED,
        {**_TOOL, "status": "TIMEOUT", "output": None, "error_message": "no answer", "latency_ms": 500.0},
    ),
    (
        events.APPROVAL_REQUESTED,
        {
            "approval_id": "approval-1",
            "reason": "refund of 900 USD",
            "tool_call_id": "tool-1",
            "budget_id": None,
            "expires_at": _NOW_US + 60_000_000,
        },
    ),
    (
        events.APPROVAL_DECIDED,
        {"approval_id": "approval-1", "decision": "DENIED", "decided_by": "user:bo", "reason": "too much"},
    ),
    (
        events.SESSION_ENDED,
        {
            "status": "FAILED",
            "error": {"type": "KeyError", "message": "'boom'", "stack": None},
            "ended_by": "runtime",
            "reason": None,
            "signal_id": None,
            "inferred": False,
        },
    ),
    (events.HEARTBEAT, {"idle_ms": 30_000}),
    (
        events.COST_CORRECTED,
        {
            **_CALL,
            "corrects_offset": 41,
            "charged_at": _NOW_US,
            "difference_usd": (-250_000_000_000_000).to_bytes(8, "big", signed=True),
            "newly_priced_tokens": None,
            "price_version": "2026-11-01",
            "corrected_by": "user:eve",
            "reason": "the price was wrong",
        },
    ),
    (events.GAP, {"events_dropped": 3, "reason": "the queue is full", "first_sequence": 11, "last_sequence": 13}),
)


def vectors() -> dict[str, Any]:
    """Return all vectors, as JSON can say them."""
    encode = Encoder(load_schema(SESSION_EVENTS.schema), SCHEMA_ID).encode
    said = [_event(sequence, *payload) for sequence, payload in enumerate(_PAYLOADS)]
    return {
        "schema_id": SCHEMA_ID,
        "events": [{"topic": SESSION_EVENTS.name, "event": _json(e), "value": encode(e).hex()} for e in said],
        "signals": [_signal()],
        "keys": [
            {
                "key": key,
                "murmur2": murmur2(key.encode()),
                "partitions": {n: partition_of(key, n) for n in (1, 4, 7, 64)},
            }
            for key in _KEYS
        ],
        "sequences": [_sequences(arrived) for arrived in _ARRIVALS],
    }


def _event(sequence: int, kind: str, payload: dict[str, Any]) -> dict[str, Any]:
    is_marked = kind == events.TURN_RECORDED
    return {
        "event_id": f"00000000-0000-4000-8000-{sequence:012x}",
        "session_id": SESSION_ID,
        "emitter_id": "runtime-example",
        "sequence": sequence,
        "occurred_at": _NOW_US + sequence,
        "nonce": bytes(range(16)),
        "imported": False,
        "org_id": "acme",
        "agent_id": "support",
        "owner_team_id": "customer-care",
        "estimated": ["input_tokens"] if kind == events.MODEL_CALL_COMPLETED else [],
        "truncations": [{"field": "content", "original_bytes": 9_000_000, "sha256": bytes(32)}] if is_marked else [],
        "redactions": [{"field": "content", "rule": "email", "count": 2}] if is_marked else [],
        "payload": (kind, payload),
    }


def _signal() -> dict[str, Any]:
    record = signals.terminate_by("user:eve", SESSION_ID, "acme", "it loops", _NOW_US)
    value = Encoder(load_schema(CONTROL.schema), SCHEMA_ID).encode(record)
    return {"topic": CONTROL.name, "signal": _json(record), "value": value.hex()}


def _sequences(arrived: list[int]) -> dict[str, Any]:
    runs: list[int] = []
    return {"arrived": arrived, "repeated": [observe(runs, number) for number in arrived]}


def _json(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {name: _json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    return value


if __name__ == "__main__":
    from pathlib import Path

    path = Path(__file__).resolve().parents[1] / "docs" / "wire-vectors.json"
    path.write_text(json.dumps(vectors(), indent=1, ensure_ascii=False) + "\n", "utf-8")
