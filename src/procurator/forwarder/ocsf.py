"""Entries as OCSF events (schema.ocsf.io, version 1.3.0). Pure.

======================================  =====================================  =========================
entry                                   class                                  activity
======================================  =====================================  =========================
SessionStarted, SessionEnded            6002 Application Lifecycle             3 Start, 4 Stop
tool and model calls, AuditEvent        6003 API Activity                      by what is done, else 99
everything else                         0 Base Event                           99 Other
======================================  =====================================  =========================

Whatever OCSF has no place for stands, whole, in ``unmapped``: nothing is lost on the way.
"""

from collections.abc import Mapping
from typing import Any

VERSION = "1.3.0"
_APPLICATION = 6
_LIFECYCLE, _API_ACTIVITY, _BASE = 6002, 6003, 0
_INFORMATIONAL, _MEDIUM = 1, 3
_SUCCESS, _FAILURE, _UNKNOWN = 1, 2, 0
_OTHER = 99
_CREATE, _READ, _UPDATE, _DELETE = 1, 2, 3, 4
_LIFECYCLES = {"SessionStarted": 3, "SessionEnded": 4}
_CALLS = frozenset({"ModelCallStarted", "ModelCallCompleted", "ToolCallStarted", "ToolCallCompleted"})
_AUDITED = {"read": _READ, "search": _READ, "create": _CREATE, "write": _UPDATE, "delete": _DELETE, "revoke": _DELETE}
_GOOD = frozenset({"SUCCESS", "COMPLETED", "ALLOWED"})
_BAD = frozenset({"ERROR", "TIMEOUT", "FAILED", "REFUSED", "TERMINATED", "CANCELLED"})


def as_ocsf(shown: Mapping[str, Any], at_us: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return an entry's ``metadata``, and the event's other fields; ``shown`` is the entry in our own JSON."""
    kind, event = shown["kind"], shown["event"]
    payload = event.get("payload") or {}
    if kind in _LIFECYCLES:
        class_uid, activity = _LIFECYCLE, _LIFECYCLES[kind]
        about = {"app": {"name": payload.get("agent_name") or event["agent_id"], "vendor_name": "Procurator"}}
    elif kind in _CALLS:
        class_uid, activity, about = _API_ACTIVITY, _OTHER, _call(event, payload)
    elif kind == "AuditEvent":
        verb = event["action"].rpartition(".")[2]
        class_uid, activity, about = _API_ACTIVITY, _AUDITED.get(verb, _OTHER), _audit(event)
    else:
        class_uid, activity, about = _BASE, _OTHER, {}
    status = _status(payload.get("status") or event.get("outcome"))
    metadata = {
        "uid": event.get("event_id") or f"{shown['log_id']}/{shown['offset']}",
        "version": VERSION,
        "product": {"name": "Procurator Sessions", "vendor_name": "Procurator"},
        "log_name": shown["log_id"],
        "correlation_uid": event.get("session_id"),
        "logged_time": at_us // 1000,
    }
    return metadata, {
        "class_uid": class_uid,
        "category_uid": _APPLICATION if class_uid else 0,
        "activity_id": activity,
        "type_uid": class_uid * 100 + activity,
        "severity_id": _MEDIUM if status == _FAILURE else _INFORMATIONAL,
        "status_id": status,
        "time": at_us // 1000,
        "message": kind,
        **about,
        "unmapped": dict(shown),
    }


def _call(event: Mapping[str, Any], payload: Mapping[str, Any]) -> dict[str, Any]:
    service = payload.get("provider") or payload.get("mcp_server_id") or "tool"
    operation = payload.get("tool_name") or payload.get("model") or "unknown"
    return {
        "actor": {"app_uid": event["agent_id"], "app_name": event["agent_id"]},
        "api": {"operation": operation, "service": {"name": service}},
        "src_endpoint": {"name": event["emitter_id"]},
    }


def _audit(event: Mapping[str, Any]) -> dict[str, Any]:
    address = event["remote_address"]
    found = {
        "actor": {"user": {"uid": event["principal"], "org": {"uid": event["org_id"]}}},
        "api": {"operation": event["action"], "request": {"uid": event["request_id"] or event["event_id"]}},
        "src_endpoint": {"ip": address} if address else {"name": event["emitter_id"]},
    }
    return {**found, "resources": [{"uid": event["resource"]}]} if event["resource"] else found


def _status(word: str | None) -> int:
    return _SUCCESS if word in _GOOD else _FAILURE if word in _BAD else _UNKNOWN
