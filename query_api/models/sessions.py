"""A session as the list and the detail show it."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

from pydantic import Field, computed_field, model_validator

from procurator.query_api.models.common import Estimated, LogId, Model, Offset, Time, Tokens, Usd, UuidText


class Status(StrEnum):
    """RUNNING and PENDING_APPROVAL are open, the others terminal."""

    RUNNING = "RUNNING"
    PENDING_APPROVAL = "PENDING_APPROVAL"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    TERMINATED = "TERMINATED"
    TIMEOUT = "TIMEOUT"


class Initiator(StrEnum):
    """Whether a person or a system started the session."""

    USER = "USER"
    SYSTEM = "SYSTEM"


class Origin(StrEnum):
    """How the session came to be."""

    API = "API"
    SCHEDULE = "SCHEDULE"
    WORKFLOW = "WORKFLOW"
    A2A = "A2A"


class Terminating(Model):
    """A session was told to end, and has not ended yet: its runtime has not answered, and its grace is not over."""

    signal_id: UuidText
    cause: str = Field(examples=["PRINCIPAL"])
    """PRINCIPAL, BUDGET, TIMEOUT, PARENT or APPROVAL."""
    requested_by: str = Field(examples=["key:admin"])
    reason: str
    requested_at: Time


class Session(Tokens):
    """One agent run."""

    session_id: UuidText
    status: Status
    org_id: str = Field(examples=["acme"])
    """Organisation: a hard boundary."""
    agent_id: str = Field(examples=["billing"])
    agent_name: str = Field(examples=["Billing agent"])
    """Name shown to people; empty until the session's start has been seen."""
    owner_team_id: str = Field(examples=["payments"])
    """Team that owns the agent."""
    team_id: str | None = Field(examples=[None])
    """Executing team; in team execution only."""
    team_name: str | None = Field(examples=[None])
    user_id: str | None = Field(examples=["ada@example.com"])
    """User or system identity that initiated the session."""
    initiator: Initiator | None
    """USER or SYSTEM; null until the start has been seen."""
    origin: Origin | None
    """Null until the start has been seen."""
    schedule_id: str | None
    workflow_id: str | None
    workflow_run_id: str | None
    parent_session_id: UuidText | None
    """Session that started this one over A2A."""
    timeout_s: int | None = Field(examples=[600])
    """Configured execution timeout in seconds."""
    labels: dict[str, str] = Field(examples=[{"customer": "4711"}])
    imported: bool
    """True for a recorded session published afterwards."""
    started_at: Time | None
    """Null until the start has been seen."""
    completed_at: Time | None
    """Null while the session is open."""
    last_activity_at: Time | None
    ended_by: str | None
    """Principal or component that ended the session."""
    end_reason: str | None
    end_inferred: bool
    """True while the end is a processor's conclusion."""
    terminating: Terminating | None = None
    """By whom and why an open session was told to end; null otherwise."""
    stalled: bool = False
    """True while an open session is silent, heartbeats included. That is no end: its runtime may be spooling."""
    turns: int = Field(examples=[12])
    tool_calls: int = Field(examples=[3])
    tool_errors: int = Field(examples=[0])
    """Tool calls that ended in ERROR or TIMEOUT."""
    model_calls: int = Field(examples=[6])
    open_tool_calls: int
    """Tool calls that have started and not completed."""
    open_model_calls: int
    cost_usd: Usd | None
    """Sum over the model calls that have a price, in USD; null when there are calls and none has one."""
    priced_calls: int
    unpriced_calls: int
    """Model calls without a price: their cost is unknown, not zero."""
    unpriced_tokens: int
    reported_cost_usd: Usd | None
    """Sum of what the runtime reported, in USD; null when it reported nothing."""
    models: list[str] = Field(examples=[["gpt-4o"]])
    """Models that answered, in order of first use."""
    tools: list[str] = Field(examples=[["get_order"]])
    mcp_servers: list[str] = Field(examples=[["orders"]])
    estimated: Estimated
    events: int
    """Events counted; repeats are not."""
    repeated_events: int
    missing_events: int
    """Sequence numbers missing so far, over all emitters."""
    dropped_events: int
    """Events that emitters reported as dropped."""
    flags: list[str] = Field(examples=[[]])
    """Oddities across the session's records, for example event_after_end."""
    log_id: LogId
    as_of_offset: Offset
    """Offset of the last record of the log that this answer has seen."""
    as_of: Time
    """Broker time of that record."""

    @model_validator(mode="after")
    def _unpriced_is_not_free(self) -> Self:
        if self.unpriced_calls and not self.priced_calls:
            self.cost_usd = None
        return self

    @computed_field(examples=[1500.5])  # type: ignore[prop-decorator]
    @property
    def duration_ms(self) -> float | None:
        """Milliseconds from start to completion, by the emitters' clocks; null while either is unknown."""
        if self.started_at is None or self.completed_at is None:
            return None
        elapsed = datetime.fromisoformat(self.completed_at) - datetime.fromisoformat(self.started_at)
        return (elapsed // timedelta(microseconds=1)) / 1000


class SessionError(Model):
    """Why a session failed."""

    type: str = Field(examples=["ToolLoopError"])
    message: str
    stack: str | None


class CallKind(StrEnum):
    """Which kind of call."""

    TOOL = "TOOL"
    MODEL = "MODEL"


class OpenCall(Model):
    """A call that has started and not completed."""

    call_id: str
    kind: CallKind
    name: str
    """Name of the tool or model."""
    started_at: Time


class SessionDetail(Session):
    """One session as of its last event in the ledger."""

    error: SessionError | None
    """With status FAILED."""
    open_calls: list[OpenCall]
    pending_approvals: list[str]
    """Ids of approval requests that wait for a decision."""
