"""Records as people read them."""

from decimal import Decimal
from typing import Any

import pytest

from procurator.avro_json import converter, decimal_text
from procurator.avro_schemas.codec import from_decimal, load_schema


def _event(payload: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "event_id": "0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d",
        "session_id": "1f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d",
        "emitter_id": "runtime",
        "sequence": 0,
        "occurred_at": 1,
        "nonce": bytes(range(16)),
        "imported": False,
        "org_id": "acme",
        "agent_id": "billing",
        "owner_team_id": "payments",
        "estimated": [],
        "truncations": [{"field": "content", "original_bytes": 9, "sha256": b"\xff" * 32}],
        "redactions": [],
        "payload": payload,
    }


def test_an_event_shows_its_times_bytes_and_kind() -> None:
    shown = converter(load_schema("session_event").text)(_event(("procurator.v1.Heartbeat", {"idle_ms": 30_000})))
    assert shown["occurred_at"] == "1970-01-01T00:00:00.000001Z"
    assert shown["nonce"] == "000102030405060708090a0b0c0d0e0f"
    assert shown["truncations"] == [{"field": "content", "original_bytes": 9, "sha256": "ff" * 32}]
    assert shown["payload"] == {"kind": "Heartbeat", "idle_ms": 30_000}


def test_a_time_that_is_in_no_calendar_stays_a_number() -> None:
    asked = {"approval_id": "a", "expires_at": 2**62, **dict.fromkeys(("tool_call_id", "reason", "budget_id"))}
    shown = converter(load_schema("session_event").text)(_event(("procurator.v1.ApprovalRequested", asked)))
    assert shown["payload"]["expires_at"] == str(2**62)


def test_money_and_optional_fields() -> None:
    payload = {
        "model_call_id": "m",
        "provider": "openai",
        "model": "gpt-4o",
        "turn_index": None,
        "status": "SUCCESS",
        "error_message": None,
        **dict.fromkeys(
            ("input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens"), 1
        ),
        "latency_ms": 1.5,
        "first_token_ms": None,
        "reported_cost_usd": from_decimal(Decimal("0.0100")),
        "finish_reason": None,
    }
    shown = converter(load_schema("session_event").text)(_event(("procurator.v1.ModelCallCompleted", payload)))
    assert shown["payload"]["reported_cost_usd"] == "0.01"
    assert shown["payload"]["first_token_ms"] is None
    assert shown["payload"]["status"] == "SUCCESS"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0", "0"),
        ("0E-18", "0"),
        ("100", "100"),
        ("1.500", "1.5"),
        ("0.000000000000000001", "0.000000000000000001"),
        ("12345678901234567890.123456789012345678", "12345678901234567890.123456789012345678"),
    ],
)
def test_money_is_written_in_full(value: str, text: str) -> None:
    assert decimal_text(Decimal(value)) == text
