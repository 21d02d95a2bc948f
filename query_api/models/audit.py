"""Audit events as the API shows them."""

from typing import Literal

from pydantic import Field

from procurator.query_api.models.common import LogId, Model, Offset, Time, UuidText

Outcome = Literal["ALLOWED", "REFUSED", "FAILED"]


class AuditEntry(Model):
    """One access or change, as it stands in the ledger."""

    log_id: LogId
    offset: Offset
    broker_time: Time
    event_id: UuidText
    emitter_id: str
    sequence: int
    """Number of the event at its emitter, from 0; one that is missing was never acknowledged, and showed nothing."""
    occurred_at: Time
    org_id: str = Field(examples=["acme"])
    """Organisation of the principal; `*` for the operator and for whoever is not known."""
    principal: str = Field(examples=["key:u44ii41qfemx9eku"])
    action: str = Field(examples=["sessions.read"])
    outcome: Outcome
    resource: str | None
    owner_team_id: str | None
    purpose: str | None
    """What the caller said in `X-Purpose`."""
    filter: str | None
    """Filter of a search or export, as JSON."""
    item_count: int | None
    """Number of items shown, exported or changed."""
    request_id: str | None
    remote_address: str | None
    details: str | None
    """Further details, as JSON."""
