"""Columns of every kind of record, read back from the Arrow arrays."""

import os
import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from procurator import audit_events, events
from procurator.avro_schemas.codec import Decoder, Schema, from_decimal, load_schema
from procurator.errors import Rejected
from procurator.leaf import entry_leaf_hash
from procurator.merkle import root_hash
from procurator.partitioner import partition_of
from procurator.price_record import ConditionalRates, PriceRecord, PriceVersion, Rate, Rates
from procurator.pricing import PriceBook
from procurator.sink.blocks import AuditProjection, Block, EventProjection, make_block
from procurator.sink.ledger import Head, Log
from procurator.sink.records import Record, Records
from procurator.sink.repeats import Repeats
from procurator.sink.rows import message_of

SESSION = "0193e2f0-0000-7000-8000-000000000001"
TOPIC_ID = "0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d"
TIME_US = 1_790_000_000_123_000
PARTITIONS = 4
LOG = Log("t", partition_of(SESSION, PARTITIONS), f"{TOPIC_ID}:0", PARTITIONS)
RATES = Rates(input=Rate(Decimal("2.5")), output=Rate(Decimal(10)))
PRICES = PriceBook.of(
    [PriceRecord("openai", "gpt-4o", "", (PriceVersion("v1", 0, "test", prices=(ConditionalRates(RATES),)),))]
)

PAYLOADS: dict[str, dict[str, Any]] = {
    "SessionStarted": {"agent_name": "Billing", "initiator": "USER", "origin": "API"},
    "TurnRecorded": {
        "turn_index": 3,
        "role": "ASSISTANT",
        "content": "grüße 你好",
        "thinking": "hm",
        "model_call_id": "m1",
    },
    "ModelCallStarted": {"model_call_id": "m1", "provider": "openai", "model": "gpt-4o", "turn_index": 3},
    "ModelCallCompleted": {
        "model_call_id": "m1",
        "provider": "openai",
        "model": "gpt-4o",
        "turn_index": 3,
        "status": "SUCCESS",
        "input_tokens": 1000,
        "cached_input_tokens": 0,
        "cache_write_tokens": 0,
        "output_tokens": 100,
        "latency_ms": 12.5,
        "first_token_ms": 3.5,
        "reported_cost_usd": from_decimal(Decimal("0.0035")),
    },
    "ToolCallStarted": {"tool_call_id": "t1", "tool_name": "search", "input": "{}", "timeout_ms": 500.0},
    "ToolCallCompleted": {
        "tool_call_id": "t1",
        "tool_name": "search",
        "mcp_server_id": "web",
        "status": "ERROR",
        "output": None,
        "error_message": "no route",
        "latency_ms": 7.0,
    },
    "ApprovalRequested": {"approval_id": "a1", "reason": "large refund", "tool_call_id": "t1"},
    "ApprovalDecided": {"approval_id": "a1", "decision": "DENIED", "decided_by": "ann", "reason": "too large"},
    "SessionEnded": {
        "status": "FAILED",
        "ended_by": "runtime",
        "reason": "crash",
        "inferred": False,
        "error": {"type": "ValueError", "message": "boom", "stack": None},
    },
    "Heartbeat": {"idle_ms": 30_000},
    "Gap": {"events_dropped": 3, "reason": "spool full"},
    "CostCorrected": {
        "model_call_id": "m1",
        "provider": "openai",
        "model": "gpt-4o",
        "turn_index": 3,
        "corrects_offset": 17,
        "charged_at": 1_790_000_000_000_000,
        "difference_usd": from_decimal(Decimal("-0.5")),
        "newly_priced_tokens": 9,
        "price_version": "operator-1+x",
        "corrected_by": "ann",
        "reason": "contract 4711",
    },
}
EXPECTED: dict[str, dict[str, Any]] = {
    "CostCorrected": {
        "model_call_id": "m1",
        "provider": "openai",
        "model": "gpt-4o",
        "turn_index": 3,
        "reason": "contract 4711",
        "cost_usd": Decimal("-0.5"),
        "price_version": "operator-1+x",
        "corrects_offset": 17,
        "newly_priced_tokens": 9,
    },
    "TurnRecorded": {
        "turn_index": 3,
        "role": "ASSISTANT",
        "content": "grüße 你好",
        "thinking": "hm",
        "model_call_id": "m1",
    },
    "ModelCallStarted": {"model_call_id": "m1", "provider": "openai", "model": "gpt-4o", "turn_index": 3},
    "ModelCallCompleted": {
        "model_call_id": "m1",
        "provider": "openai",
        "model": "gpt-4o",
        "turn_index": 3,
        "status": "SUCCESS",
        "input_tokens": 1000,
        "output_tokens": 100,
        "latency_ms": 12.5,
        "first_token_ms": 3.5,
        "cost_usd": Decimal("0.0035"),
        "cache_saved_usd": Decimal(0),
        "price_version": "v1",
        "reported_cost_usd": Decimal("0.0035"),
    },
    "ToolCallStarted": {"tool_call_id": "t1", "tool_name": "search", "content": "{}", "timeout_ms": 500.0},
    "ToolCallCompleted": {
        "tool_call_id": "t1",
        "tool_name": "search",
        "mcp_server_id": "web",
        "status": "ERROR",
        "error_message": "no route",
        "latency_ms": 7.0,
    },
    "ApprovalRequested": {"approval_id": "a1", "reason": "large refund", "tool_call_id": "t1"},
    "ApprovalDecided": {"approval_id": "a1", "reason": "too large"},
    "SessionEnded": {"status": "FAILED", "error_message": "boom", "reason": "crash"},
    "Gap": {"reason": "spool full"},
}
#: Columns of an event that its payload alone fills, with what they hold for other kinds.
DEFAULTS: dict[str, Any] = {
    **dict.fromkeys(("role", "tool_name", "provider", "model", "status", "price_version"), ""),
    **dict.fromkeys(events.TOKEN_BUCKETS, 0),
    **dict.fromkeys(("turn_index", "content", "thinking", "tool_call_id", "model_call_id", "approval_id"), None),
    **dict.fromkeys(("mcp_server_id", "reason", "latency_ms", "first_token_ms", "timeout_ms", "error_message"), None),
    **dict.fromkeys(
        ("cost_usd", "cache_saved_usd", "reported_cost_usd", "corrects_offset", "newly_priced_tokens"), None
    ),
}


def decoder(schema: Schema) -> Decoder:
    return Decoder(schema, lambda _schema_id: schema.text)


def encoded(kind: str, sequence: int = 0, **envelope: Any) -> bytes:
    record = {
        "event_id": str(uuid.uuid4()),
        "session_id": SESSION,
        "emitter_id": "runtime",
        "sequence": sequence,
        "occurred_at": TIME_US - 5,
        "nonce": os.urandom(16),
        "org_id": "acme",
        "agent_id": "billing",
        "owner_team_id": "payments",
        "payload": (events.NAMESPACE + kind, PAYLOADS[kind]),
        **envelope,
    }
    return load_schema("session_event").encode(record, 1)


def block_of(*values: bytes | None, log: Log = LOG, before: Head | None = None) -> Block:
    head = before or Head(log.log_id)
    first = head.next_offset
    records = Records.of(Record(first + n, TIME_US, SESSION.encode(), value) for n, value in enumerate(values))
    schema = load_schema("session_event")
    parse = decoder(schema)
    repeats = Repeats(lambda _offset, _sessions: {})
    return make_block(
        log, head, records, EventProjection(log, lambda v: events.parse(parse, v), repeats, lambda: PRICES)
    )


def rows(block: Block) -> list[dict[str, Any]]:
    columns = {name: column.to_pylist() for name, column in block.columns.items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


@pytest.mark.parametrize("kind", PAYLOADS)
def test_every_kind_has_its_columns_and_defaults_elsewhere(kind: str) -> None:
    (row,) = rows(block_of(encoded(kind, sequence=4, estimated=["occurred_at"], imported=True)))
    assert row["kind"] == kind
    assert {name: row[name] for name in DEFAULTS} == {**DEFAULTS, **EXPECTED.get(kind, {})}
    assert row["session_id"] == uuid.UUID(SESSION).bytes
    assert (row["emitter_id"], row["sequence"], row["imported"]) == ("runtime", 4, True)
    assert (row["org_id"], row["agent_id"], row["owner_team_id"]) == ("acme", "billing", "payments")
    assert (row["estimated"], row["flags"]) == (["occurred_at"], [])


def test_the_payloads_above_are_all_that_the_schema_has() -> None:
    union = next(field for field in load_schema("session_event").raw["fields"] if field["name"] == "payload")
    assert {branch["name"] for branch in union["type"]} == {events.NAMESPACE + kind for kind in PAYLOADS}


def test_an_entry_has_the_exact_bytes_and_its_leaf() -> None:
    values = [encoded("TurnRecorded"), b"\xff\x00", None]
    block = block_of(*values, before=Head(LOG.log_id, 10))
    entries = rows(block)
    assert [row["value"] for row in entries] == values
    assert [(row["offset"], row["leaf_index"]) for row in entries] == [(10, 0), (11, 1), (12, 2)]
    leaves = [entry_leaf_hash(LOG.log_id, n, 10 + n, TIME_US, SESSION.encode(), v) for n, v in enumerate(values)]
    assert [row["leaf_hash"] for row in entries] == leaves
    assert (block.after.size, block.after.next_offset, block.after.root) == (3, 13, root_hash(leaves))
    assert (block.last_leaf_hash, block.entries) == (leaves[2], 3)


def broken(**fields: Any) -> bytes:
    payload = {**PAYLOADS["ModelCallCompleted"], **fields}
    return encoded("ModelCallCompleted", payload=(events.MODEL_CALL_COMPLETED, payload))


@pytest.mark.parametrize(
    ("value", "reason", "message"),
    [
        pytest.param(None, "undecodable", "no value", id="null"),
        pytest.param(b"", "undecodable", "0 bytes are too short for a header", id="empty"),
        pytest.param(b"{}    ", "undecodable", "first byte is 0x7b", id="no framing"),
        pytest.param(encoded("Gap")[:-1], "undecodable", "not Avro of schema id 1", id="truncated"),
        pytest.param(encoded("Gap") + b"\0", "undecodable", "1 bytes after the record", id="trailing byte"),
        pytest.param(broken(input_tokens=-1), "rule_broken", "input_tokens: -1 is not within", id="negative tokens"),
        pytest.param(
            broken(reported_cost_usd=b"\x4b" + b"\xff" * 15), "rule_broken", "decimal(38, 18)", id="38 digits"
        ),
        pytest.param(encoded("Gap", session_id="x" * 9_000), "rule_broken", "session_id: 'xxx", id="no session"),
    ],
)
def test_a_rejected_record_keeps_its_place_and_says_why(value: bytes | None, reason: str, message: str) -> None:
    block = block_of(encoded("Gap"), value)
    _, row = rows(block)
    assert (row["flags"], row["rejected_reason"], row["value"]) == (["rejected"], reason, value)
    assert message in row["rejected_message"]
    assert len(row["rejected_message"]) <= 500
    assert (row["session_id"], row["event_id"], row["kind"], row["org_id"]) == (bytes(16), None, "", "")
    assert [(r.record.offset, r.reason, r.record.value) for r in block.rejected] == [(1, reason, value)]


def test_a_misplaced_or_repeated_record_is_flagged_and_a_misplaced_one_repeats_nothing() -> None:
    elsewhere = Log("t", (LOG.partition + 1) % PARTITIONS, LOG.log_id, PARTITIONS)
    value = encoded("TurnRecorded")
    assert [row["flags"] for row in rows(block_of(value, value, log=elsewhere))] == [["misplaced"]] * 2
    assert [row["flags"] for row in rows(block_of(value, value))] == [[], ["repeated"]]


def test_a_message_is_text_that_any_encoder_takes() -> None:
    assert message_of(Rejected("lone \udcff")) == "lone \\udcff"


AUDIT: Mapping[str, Any] = {
    "event_id": str(uuid.uuid4()),
    "emitter_id": "api-1",
    "sequence": 0,
    "occurred_at": TIME_US,
    "nonce": bytes(16),
    "org_id": "acme",
    "principal": "ann",
    "action": "sessions.read",
    "outcome": "ALLOWED",
    "resource": SESSION,
    "item_count": 3,
}


def audit_block(record: Mapping[str, Any]) -> Block:
    schema = load_schema("audit_event")
    records = Records.of([Record(0, TIME_US, None, schema.encode(record, 1))])
    parse = decoder(schema)
    return make_block(LOG, Head(LOG.log_id), records, AuditProjection(lambda v: audit_events.parse(parse, v)))


def test_an_audit_event_has_its_columns() -> None:
    (row,) = rows(audit_block(AUDIT))
    assert {name: row[name] for name in AUDIT if name in row and name not in ("event_id", "occurred_at")} == {
        name: value for name, value in AUDIT.items() if name not in ("event_id", "occurred_at", "nonce")
    }
    assert (row["event_id"], row["flags"], row["key"]) == (uuid.UUID(AUDIT["event_id"]).bytes, [], None)


@pytest.mark.parametrize(
    ("field", "value"),
    [("event_id", "no-uuid"), ("sequence", -1), ("occurred_at", -1), ("item_count", -1), ("principal", "")],
)
def test_an_audit_event_that_breaks_a_rule_is_rejected(field: str, value: Any) -> None:
    (row,) = rows(audit_block({**AUDIT, field: value}))
    assert (row["flags"], row["rejected_reason"]) == (["rejected"], "rule_broken")
    assert row["rejected_message"].startswith(f"{field}: ")
