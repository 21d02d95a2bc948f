"""How entries are written for others: whole, numbered, the same bytes each time."""

import json
from typing import Any

import pytest

from procurator.clock import to_rfc3339
from procurator.forwarder import formats
from procurator.forwarder.entries import Entry
from procurator.webhooks.endpoint import AUDIT_EVENT, CHECKPOINT, SESSION_KINDS, Format, Subject

_AT_US = 1_790_000_000_123_456
_LOG = "0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d:3"


def _entry(kind: str, offset: int = 7, **payload: Any) -> Entry:
    session = {"event_id": "e", "session_id": "s", "org_id": "acme", "agent_id": "billing", "emitter_id": "r"}
    event: dict[str, Any] = {**session, "payload": {"kind": kind, **payload}}
    if kind == AUDIT_EVENT:
        who = {"principal": "ann", "action": "sessions.read", "outcome": "ALLOWED", "resource": "s"}
        event = {"event_id": "e", "org_id": "acme", "emitter_id": "api", **who}
        event |= {"request_id": None, "remote_address": "192.0.2.1"}
    if kind == CHECKPOINT:
        event = {"log_id": _LOG, "size": 9, "note": "n"}
    return Entry(_LOG, offset, _AT_US, 100, Subject(kind, "acme", "t", "billing"), lambda: event)


def test_our_own() -> None:
    entries = [(4, _entry("TurnRecorded")), (5, _entry("SessionEnded", 8, status="COMPLETED"))]
    body = formats.body(Format.JSON, "endpoint", entries)
    batch = json.loads(body)
    assert (batch["type"], batch["endpoint_id"]) == ("procurator.entries", "endpoint")
    assert [(item["sequence"], item["kind"], item["offset"]) for item in batch["items"]] == [
        (4, "TurnRecorded", 7),
        (5, "SessionEnded", 8),
    ]
    assert batch["items"][0]["broker_time"] == batch["timestamp"] == to_rfc3339(_AT_US)
    assert batch["items"][1]["event"]["payload"]["status"] == "COMPLETED"
    assert formats.body(Format.JSON, "endpoint", entries) == body


@pytest.mark.parametrize("kind", [*SESSION_KINDS, AUDIT_EVENT, CHECKPOINT])
def test_every_kind_is_an_ocsf_event_with_what_its_class_requires(kind: str) -> None:
    (event,) = json.loads(formats.body(Format.OCSF, "endpoint", [(4, _entry(kind))]))
    required = {"class_uid", "category_uid", "activity_id", "type_uid", "severity_id", "time", "metadata"}
    required |= {6003: {"actor", "api", "src_endpoint"}, 6002: {"app"}, 0: set()}[event["class_uid"]]
    assert required <= event.keys()
    assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"]
    assert event["category_uid"] == event["class_uid"] // 1000
    assert event["metadata"]["sequence"] == 4
    assert {"version", "product"} <= event["metadata"].keys()
    assert event["time"] == _AT_US // 1000
    assert event["unmapped"]["kind"] == kind
    assert event["unmapped"]["event"] == _entry(kind).event()


@pytest.mark.parametrize(
    ("kind", "payload", "status_id", "severity_id"),
    [
        ("ToolCallCompleted", {"status": "SUCCESS", "tool_name": "t"}, 1, 1),
        ("ToolCallCompleted", {"status": "TIMEOUT", "tool_name": "t"}, 2, 3),
        ("SessionEnded", {"status": "TERMINATED"}, 2, 3),
        ("TurnRecorded", {}, 0, 1),
    ],
)
def test_what_went_wrong_is_more_severe(kind: str, payload: dict[str, Any], status_id: int, severity_id: int) -> None:
    (event,) = json.loads(formats.body(Format.OCSF, "endpoint", [(0, _entry(kind, **payload))]))
    assert (event["status_id"], event["severity_id"]) == (status_id, severity_id)


def test_splunks() -> None:
    body = formats.body(Format.SPLUNK_HEC, "endpoint", [(4, _entry("TurnRecorded")), (5, _entry(AUDIT_EVENT))])
    first, second = map(json.loads, body.splitlines())
    assert first["time"] == _AT_US / 1e6
    assert (first["sourcetype"], first["event"]["sequence"]) == ("procurator:TurnRecorded", 4)
    assert (second["sourcetype"], second["event"]["sequence"]) == ("procurator:AuditEvent", 5)
    assert formats.headers(Format.SPLUNK_HEC, "t")["authorization"] == "Splunk t"
    assert "authorization" not in formats.headers(Format.JSON, "t")


@pytest.mark.parametrize("form", Format)
def test_a_test_delivery_is_of_the_form(form: Format) -> None:
    found = json.loads(formats.test_body(form, "endpoint", _AT_US))
    assert isinstance(found, list) is (form == Format.OCSF)
    assert "sequence" not in json.dumps(found)
