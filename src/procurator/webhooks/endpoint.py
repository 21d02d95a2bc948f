"""Endpoints of webhooks as they are wanted: whose entries go where, in which form. Pure.

The API alone writes them; the forwarder makes them so, and says in `procurator.webhooks.state` how far it is.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple, Self

from procurator import events
from procurator.access import Scope

AUDIT_EVENT = "AuditEvent"
CHECKPOINT = "Checkpoint"
SESSION_KINDS = tuple(
    kind.removeprefix(events.NAMESPACE)
    for kind in (
        *(events.SESSION_STARTED, events.TURN_RECORDED, events.MODEL_CALL_STARTED, events.MODEL_CALL_COMPLETED),
        *(events.TOOL_CALL_STARTED, events.TOOL_CALL_COMPLETED, events.APPROVAL_REQUESTED, events.APPROVAL_DECIDED),
        *(events.SESSION_ENDED, events.HEARTBEAT, events.GAP, events.COST_CORRECTED),
    )
)
#: What can be delivered.
KINDS = (*SESSION_KINDS, AUDIT_EVENT, CHECKPOINT)


class Format(StrEnum):
    """How a batch is written."""

    JSON = "JSON"
    OCSF = "OCSF"
    SPLUNK_HEC = "SPLUNK_HEC"


class RequestKind(StrEnum):
    """What may be asked for once."""

    TEST = "TEST"
    REPLAY = "REPLAY"
    BACKFILL = "BACKFILL"


class Subject(NamedTuple):
    """What a filter judges. A checkpoint is of the whole ledger and has neither organisation, team nor agent."""

    kind: str
    org_id: str | None
    owner_team_id: str | None
    agent_id: str | None


@dataclass(frozen=True)
class Filter:
    """Which entries are delivered. Empty teams or agents are all; agents narrow session events alone."""

    kinds: frozenset[str]
    owner_team_ids: frozenset[str] = frozenset()
    agent_ids: frozenset[str] = frozenset()

    @property
    def problem(self) -> tuple[str, str] | None:
        """Return the field at fault and why, for a filter that can match nothing; None otherwise."""
        if not self.kinds:
            return "kinds", "name at least one kind: this filter would match nothing"
        if self.agent_ids and not self.kinds & set(SESSION_KINDS):
            return "agent_ids", "agents narrow session events, of which kinds names none"
        if self.owner_team_ids and self.kinds == {CHECKPOINT}:
            return "owner_team_ids", "a checkpoint is of the whole ledger: it has no team"
        return None

    def matches(self, org_id: str | None, subject: Subject) -> bool:
        """Tell whether an endpoint of ``org_id`` (None: of every organisation) gets ``subject``."""
        if subject.kind not in self.kinds:
            return False
        if subject.kind == CHECKPOINT:
            return True
        scope = Scope(org_id, tuple(self.owner_team_ids) or None)
        if not scope.contains(subject.org_id or "", subject.owner_team_id or ""):
            return False
        return subject.kind == AUDIT_EVENT or not self.agent_ids or subject.agent_id in self.agent_ids


@dataclass(frozen=True)
class Secret:
    """One signing key (the bytes in a secret), sealed. ``expires_at`` None: the newest one."""

    sealed: bytes
    created_at: int
    expires_at: int | None = None


@dataclass(frozen=True)
class Request:
    """Something to be done once; what it does not need is None. Times are µs since the epoch."""

    request_id: str
    kind: RequestKind
    requested_at: int
    requested_by: str
    from_time: int | None = None
    log_id: str | None = None
    offset: int | None = None
    sequence: int | None = None


@dataclass(frozen=True)
class Endpoint:
    """One receiver. ``org_id`` None is the operator's: every organisation."""

    endpoint_id: str
    org_id: str | None
    name: str
    url: str
    format: Format
    filter: Filter
    enabled: bool
    secrets: tuple[Secret, ...]
    token: bytes | None
    requests: tuple[Request, ...]
    revision: int
    created_at: int
    created_by: str
    changed_at: int
    changed_by: str

    def wants(self, subject: Subject) -> bool:
        """Tell whether an entry is delivered here."""
        return self.filter.matches(self.org_id, subject)

    def changed(self, by: str, now_us: int, **fields: Any) -> "Endpoint":
        """Return the endpoint with other fields, as a new revision: what had stopped the old one is forgotten."""
        return replace(self, **fields, revision=self.revision + 1, changed_at=now_us, changed_by=by)

    def rotated(self, sealed: bytes, overlap_us: int, by: str, now_us: int) -> "Endpoint":
        """Return the endpoint with a new secret; the others sign for ``overlap_us`` more at most."""
        until = now_us + overlap_us
        kept = [
            replace(old, expires_at=until if old.expires_at is None else min(until, old.expires_at))
            for old in self.signing(now_us)
        ]
        secrets = (Secret(sealed, now_us), *(old for old in kept if (old.expires_at or 0) > now_us))
        return replace(self, secrets=secrets, changed_at=now_us, changed_by=by)

    def signing(self, now_us: int) -> tuple[Secret, ...]:
        """Return the secrets that sign now, newest first."""
        return tuple(secret for secret in self.secrets if secret.expires_at is None or secret.expires_at > now_us)

    def asked(self, request: Request) -> "Endpoint":
        """Return the endpoint with a request, in place of an earlier one of its kind."""
        others = tuple(other for other in self.requests if other.kind != request.kind)
        return replace(self, requests=(*others, request))

    def to_record(self) -> dict[str, Any]:
        """Return the raw record of webhook_endpoint.avsc."""
        fields = {name: value for name, value in vars(self).items() if name != "filter"}
        return {
            **fields,
            **{name: sorted(values) for name, values in vars(self.filter).items()},
            "secrets": [vars(secret) for secret in self.secrets],
            "requests": [vars(request) for request in self.requests],
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """Return the endpoint in a raw record. Raises ValueError for a form or request that this version lacks."""
        fields = dict(record)
        chosen = {name: frozenset(fields.pop(name)) for name in ("kinds", "owner_team_ids", "agent_ids")}
        return cls(
            **{
                **fields,
                "format": Format(fields["format"]),
                "filter": Filter(**chosen),
                "secrets": tuple(Secret(**secret) for secret in fields["secrets"]),
                "requests": tuple(_request(request) for request in fields["requests"]),
            }
        )


def _request(record: dict[str, Any]) -> Request:
    return Request(**{**record, "kind": RequestKind(record["kind"])})
