"""Webhooks as the API shows and takes them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from procurator.clock import to_rfc3339
from procurator.query_api.models.common import Model, Time, UuidText
from procurator.webhooks.addresses import URL_CHARS_MAX
from procurator.webhooks.endpoint import CHECKPOINT, KINDS, SESSION_KINDS, Endpoint, Format, RequestKind
from procurator.webhooks.state import DeadLetter, State

OVERLAP_S_MAX = 30 * 24 * 3600
_NAMES_MAX = 1_000

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Kind = Annotated[str, Field(json_schema_extra={"enum": list(KINDS)})]
EndpointStatus = Literal["starting", "active", "failing", "disabled", "stopped"]


class WebhookBody(BaseModel):
    """What an endpoint is to be."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")

    name: Name = Field(examples=["Security operations"])
    """What it is for, for people."""
    url: str = Field(max_length=URL_CHARS_MAX, examples=["https://siem.example.com/procurator"])
    """Address that batches are posted to: https, of a public machine unless the settings allow others."""
    format: Format = Format.JSON
    """JSON, OCSF or SPLUNK_HEC."""
    kinds: list[Kind] = Field([*SESSION_KINDS, CHECKPOINT], max_length=len(KINDS), examples=[["SessionEnded"]])
    """What is delivered: kinds of session events, AuditEvent, Checkpoint."""
    owner_team_ids: list[Name] = Field(default_factory=list, max_length=_NAMES_MAX, examples=[["payments"]])
    """Owner teams whose entries are delivered; empty is all."""
    agent_ids: list[Name] = Field(default_factory=list, max_length=_NAMES_MAX, examples=[["billing"]])
    """Agents whose session events are delivered; empty is all."""
    enabled: bool = True
    """False delivers nothing; the position stays."""
    token: str | None = Field(None, min_length=1, max_length=1_000, pattern=r"^[!-~]+$")
    """Token of the HTTP Event Collector, with SPLUNK_HEC; never shown again. Null leaves it as it is."""


class NewWebhookBody(WebhookBody):
    """An endpoint to make."""

    secret: str | None = Field(None, max_length=200, examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
    """Signing secret of your own; null makes one."""
    org_id: Name | None = Field(None, examples=["acme"])
    """Organisation whose entries are delivered: the caller's own, which need not be given."""
    every_organisation: bool = False
    """True makes an operator's endpoint, which gets every organisation's entries."""


class RotateBody(BaseModel):
    """How the signing secret changes."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")

    overlap_s: int = Field(24 * 3600, ge=0, le=OVERLAP_S_MAX)
    """So many seconds the old secret signs as well, so that a receiver can change over."""
    secret: str | None = Field(None, max_length=200)
    """New secret of your own; null makes one."""


class ReplayBody(BaseModel):
    """Which dead letters are delivered again."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")

    sequence: int | None = Field(None, ge=0, le=2**53)
    """The one whose first entry has this number; null is every one."""


class BackfillBody(BaseModel):
    """From where on everything is delivered again: a time, or a place in one log."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")

    from_time: datetime | None = Field(None, examples=["2026-11-22T16:08:00Z"])
    """Broker time, with its zone."""
    log_id: str | None = Field(None, max_length=100)
    """Log, with ``offset``."""
    offset: int | None = Field(None, ge=0, le=2**53)
    """First offset to be delivered again."""


class SecretModel(Model):
    """A signing secret, without itself."""

    created_at: Time
    expires_at: Time | None
    """Null is the newest one."""


class WebhookRequestModel(Model):
    """Something that was asked for and is not done yet."""

    request_id: UuidText
    kind: RequestKind
    requested_at: Time
    requested_by: str


class WebhookTestModel(Model):
    """How the last test delivery went."""

    request_id: UuidText
    tested_at: Time
    succeeded: bool
    status: int | None
    """HTTP status of the answer; null without one."""
    message: str
    latency_ms: float


class WebhookModel(Model):
    """An endpoint and how far it is."""

    endpoint_id: str = Field(examples=["u44ii41qfemx9eku"])
    org_id: str | None
    """Null is an operator's endpoint: every organisation."""
    name: str
    url: str
    format: Format
    kinds: list[str]
    owner_team_ids: list[str]
    agent_ids: list[str]
    enabled: bool
    has_token: bool
    secrets: list[SecretModel]
    """Those that sign now, newest first."""
    created_at: Time
    created_by: str
    changed_at: Time
    changed_by: str
    status: EndpointStatus
    """`starting`: the forwarder has not seen it yet; `failing`: it is tried again; `stopped`: until it is changed."""
    stopped_reason: str | None
    positions: dict[str, int]
    """Next offset of each log: everything before was delivered, did not match, or is a dead letter."""
    next_sequence: int
    """Number of the next entry to be delivered."""
    delivered: int
    dead_letters: int
    failures: int
    """Attempts that failed since the last success."""
    breaker_open: bool
    retry_at: Time | None
    last_success_at: Time | None
    last_failure_at: Time | None
    last_error: str | None
    last_test: WebhookTestModel | None
    pending: list[WebhookRequestModel]


class NewWebhook(WebhookModel):
    """An endpoint with a secret that was just made."""

    secret: str
    """The signing secret, shown this once."""


class DeadLetterModel(Model):
    """A batch that its receiver would not take."""

    sequence: int
    """Number of its first entry."""
    entries: int
    given_up_at: Time
    reason: str
    status: int | None
    """HTTP status of the last answer; null without one."""
    attempts: int


def webhook_json(endpoint: Endpoint, state: State | None, dead_letters: int, now_us: int) -> dict[str, Any]:
    """Return the values of `WebhookModel`."""
    wanted = endpoint.to_record()
    same = ("endpoint_id", "org_id", "name", "url", "format", "kinds", "owner_team_ids", "agent_ids", "enabled")
    shown = state or State(endpoint.endpoint_id, {})
    counts = ("positions", "next_sequence", "delivered", "failures", "breaker_open", "last_error")
    times = ("retry_at", "last_success_at", "last_failure_at")
    test = shown.last_test
    status = _status(endpoint, state)
    return {
        **{name: wanted[name] for name in same},
        "has_token": endpoint.token is not None,
        "secrets": [
            {"created_at": to_rfc3339(secret.created_at), "expires_at": _time(secret.expires_at)}
            for secret in endpoint.signing(now_us)
        ],
        "created_at": to_rfc3339(endpoint.created_at),
        "created_by": endpoint.created_by,
        "changed_at": to_rfc3339(endpoint.changed_at),
        "changed_by": endpoint.changed_by,
        "status": status,
        "stopped_reason": shown.stopped_reason if status == "stopped" else None,
        "dead_letters": dead_letters,
        **{name: getattr(shown, name) for name in counts},
        **{name: _time(getattr(shown, name)) for name in times},
        "last_test": test and {**vars(test), "tested_at": to_rfc3339(test.tested_at)},
        "pending": [
            {**vars(request), "requested_at": to_rfc3339(request.requested_at)}
            for request in endpoint.requests
            if request.request_id not in shown.handled
        ],
    }


def dead_letter_json(letter: DeadLetter) -> dict[str, Any]:
    """Return the values of `DeadLetterModel`."""
    entries = sum(len(each.offsets) for each in letter.entries)
    return {**vars(letter), "entries": entries, "given_up_at": to_rfc3339(letter.given_up_at)}


def _status(endpoint: Endpoint, state: State | None) -> EndpointStatus:
    if not endpoint.enabled:
        return "disabled"
    if state is None:
        return "starting"
    if state.stopped_revision == endpoint.revision:
        return "stopped"
    return "failing" if state.failures else "active"


def _time(us: int | None) -> str | None:
    return None if us is None else to_rfc3339(us)
