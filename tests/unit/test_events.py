"""`procurator.events`: the rules one record must keep, each with the error a person reads."""

import json
import os
import uuid
from decimal import Decimal
from typing import Any

import pytest

from procurator import events
from procurator.avro_schemas.codec import Decoder, from_decimal, load_schema
from procurator.errors import Rejected

SCHEMA = load_schema("session_event")
DECODER = Decoder(SCHEMA, lambda schema_id: SCHEMA.text)


def event(payload: tuple[str, dict[str, Any]], **envelope: Any) -> dict[str, Any]:
    return {
        "event_id": str(uuid.uuid4()),
        "session_id": str(uuid.uuid4()),
        "emitter_id": "runtime-1",
        "sequence": 0,
        "occurred_at": 1_790_000_000_000_000,
        "nonce": os.urandom(16),
        "org_id": "acme",
        "agent_id": "billing",
        "owner_team_id": "payments",
        "payload": payload,
        **envelope,
    }


def turn(**fields: Any) -> tuple[str, dict[str, Any]]:
    return events.TURN_RECORDED, {"turn_index": 0, "role": "USER", "content": "hello", **fields}


def model_call(**fields: Any) -> tuple[str, dict[str, Any]]:
    call = {"model_call_id": "m1", "provider": "openai", "model": "gpt-4o", "latency_ms": 12.5}
    return events.MODEL_CALL_COMPLETED, {**call, **fields}


def started(**fields: Any) -> tuple[str, dict[str, Any]]:
    return events.SESSION_STARTED, {"agent_name": "Billing", "initiator": "USER", "origin": "API", **fields}


def parse(record: dict[str, Any]) -> events.SessionEvent:
    return events.parse(DECODER, SCHEMA.encode(record, 1))


def test_what_was_encoded_is_what_is_parsed() -> None:
    record = event(turn(content="grüße 你好 \x00"), estimated=["occurred_at"])
    parsed = parse(record)
    assert {name: parsed[name] for name in record if name != "payload"} == {  # type: ignore[literal-required]
        name: value for name, value in record.items() if name != "payload"
    }
    assert parsed["payload"][1]["content"] == "grüße 你好 \x00"
    assert events.kind_of(parsed) == "TurnRecorded"


def test_names_are_taken_up_to_their_limit() -> None:
    longest = "é" * events.NAME_CHARS_MAX
    labels = {**{str(n): longest for n in range(events.LABELS_MAX - 1)}, longest: ""}
    identities = dict.fromkeys(("emitter_id", "org_id", "agent_id", "owner_team_id"), longest)
    parsed = parse(event(started(user_id=longest, labels=labels), **identities, estimated=[longest] * 100))
    assert parsed["payload"][1]["labels"] == labels


def test_every_name_is_a_field_of_its_payload() -> None:
    payloads = next(field for field in json.loads(SCHEMA.text)["fields"] if field["name"] == "payload")["type"]
    fields = {events.NAMESPACE + kind["name"]: {field["name"] for field in kind["fields"]} for kind in payloads}
    assert all(fields[kind].issuperset(names) for kind, names in events.NAMES.items())


@pytest.mark.parametrize(
    ("record", "field", "message"),
    [
        (event(turn(), session_id="nope"), "session_id", "session_id: 'nope' is no UUID in lower case"),
        (event(turn(), event_id="A" * 36), "event_id", f"event_id: '{'A' * 36}' is no UUID in lower case"),
        (event(turn(), sequence=-1), "sequence", "sequence: -1 is not within 0 and 2^53"),
        (event(turn(), occurred_at=-1), "occurred_at", "occurred_at: -1 µs is not within 1970 and 2262"),
        (event(turn(), org_id=""), "org_id", "org_id: is empty"),
        (event(turn(turn_index=-2)), "turn_index", f"turn_index: -2 is not within 0 and {2**31 - 1}"),
        (event(turn(turn_index=2**31)), "turn_index", None),
        (
            event((events.APPROVAL_REQUESTED, {"approval_id": "a", "reason": "r", "expires_at": 2**62})),
            "expires_at",
            f"expires_at: {2**62} is not within 0 and {events.TIME_US_MAX}",
        ),
        (event(model_call(input_tokens=-5)), "input_tokens", f"input_tokens: -5 is not within 0 and {2**53}"),
        (event(model_call(output_tokens=2**53 + 1)), "output_tokens", None),
        (event(model_call(latency_ms=float("nan"))), "latency_ms", f"latency_ms: nan is not within 0 and {2**53}"),
        (event(model_call(latency_ms=float("inf"))), "latency_ms", f"latency_ms: inf is not within 0 and {2**53}"),
        (event(model_call(reported_cost_usd=b"\xff")), "reported_cost_usd", "reported_cost_usd: is negative"),
        (event(model_call(reported_cost_usd=(10**38).to_bytes(16, "big"))), "reported_cost_usd", None),
        (event(turn(), agent_id="é" * 1025), "agent_id", "agent_id: has 1,025 characters, at most 1,024 are taken"),
        (event(turn(), emitter_id="e" * 1025), "emitter_id", None),
        (event(turn(), org_id="o" * 1025), "org_id", None),
        (event(turn(), owner_team_id="t" * 1025), "owner_team_id", None),
        (event(turn(tool_call_id="c" * 1025)), "tool_call_id", None),
        (event(model_call(model="m" * 1025)), "model", None),
        (event(started(user_id="u" * 1025)), "user_id", None),
        (event(started(labels={"x": "v" * 1025})), "labels", None),
        (event(started(labels={"n" * 1025: ""})), "labels", None),
        (event(started(labels={str(n): "" for n in range(101)})), "labels", "labels: are 101, at most 100 are taken"),
        (event(turn(), estimated=["e" * 1025]), "estimated", None),
        (event(turn(), estimated=["e"] * 101), "estimated", "estimated: has 101 names, at most 100 are taken"),
    ],
)
def test_a_broken_rule_names_its_field(record: dict[str, Any], field: str, message: str | None) -> None:
    with pytest.raises(events.RuleBroken) as caught:
        parse(record)
    assert caught.value.field == field
    assert caught.value.reason == "rule_broken"
    assert message is None or str(caught.value) == message


@pytest.mark.parametrize(
    ("value", "reason", "message"),
    [
        (None, "undecodable", "no value"),
        (b"", "undecodable", "0 bytes are too short for a header"),
        (b"{}garbage", "undecodable", "first byte is 0x7b, not 0x00: no Confluent framing"),
        (SCHEMA.encode(event(turn()), 1)[:-3], "undecodable", None),
        (SCHEMA.encode(event(turn()), 1) + b"x", "undecodable", "1 bytes after the record"),
        (b"\x00\x00\x00\x00\x01" + b"\xff" * 40, "undecodable", None),
        (SCHEMA.encode(event(turn(content="abc")), 1).replace(b"abc", b"a\xff\xfe"), "undecodable", None),
    ],
)
def test_bytes_that_are_no_event_are_rejected(value: bytes | None, reason: str, message: str | None) -> None:
    with pytest.raises(Rejected) as caught:
        events.parse(DECODER, value)
    assert caught.value.reason == reason
    assert message is None or str(caught.value) == message


def test_a_reported_cost_at_the_limit_is_kept() -> None:
    largest = Decimal("99999999999999999999.999999999999999999")
    with_largest = event(model_call(reported_cost_usd=from_decimal(largest)))
    assert parse(with_largest)["payload"][1]["reported_cost_usd"] == from_decimal(largest)
