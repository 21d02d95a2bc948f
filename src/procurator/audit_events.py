"""Audit events as they stand on the wire, and the rules that one record must keep by itself.

The counterpart of `procurator.events`: what a record shows is judged by that record alone.
"""

from typing import TypedDict

from procurator.avro_schemas.codec import Decoder
from procurator.events import INTEGER_MAX, TIME_US_MAX, RuleBroken, is_uuid

#: Outcomes.
ALLOWED = "ALLOWED"
REFUSED = "REFUSED"
FAILED = "FAILED"
#: ``principal`` of whoever is not known.
ANONYMOUS = "anonymous"


class AuditEvent(TypedDict):
    """One access or change; the fields of audit_event.avsc."""

    event_id: str
    emitter_id: str
    sequence: int
    occurred_at: int
    nonce: bytes
    org_id: str
    principal: str
    action: str
    outcome: str
    resource: str | None
    owner_team_id: str | None
    purpose: str | None
    filter: str | None
    item_count: int | None
    request_id: str | None
    remote_address: str | None
    details: str | None


def parse(decoder: Decoder, value: bytes | None) -> AuditEvent:
    """Return the audit event in a record's value.

    Raises a Rejected when none can be made of these bytes, ever; Unavailable when the registry is away.
    """
    event: AuditEvent = decoder.decode(value)  # type: ignore[assignment]
    if not is_uuid(event["event_id"]):
        raise RuleBroken("event_id", f"{event['event_id']!r} is no UUID in lower case")
    if not 0 <= event["sequence"] <= INTEGER_MAX:
        raise RuleBroken("sequence", f"{event['sequence']} is not within 0 and 2^53")
    if not 0 <= event["occurred_at"] <= TIME_US_MAX:
        raise RuleBroken("occurred_at", f"{event['occurred_at']} µs is not within 1970 and 2262")
    if event["item_count"] is not None and not 0 <= event["item_count"] <= INTEGER_MAX:
        raise RuleBroken("item_count", f"{event['item_count']} is not within 0 and 2^53")
    for field in ("emitter_id", "org_id", "principal", "action"):
        if not event[field]:
            raise RuleBroken(field, "is empty")
    return event
