"""What a session consists of: turns, tool calls, model calls, ledger entries."""

from enum import StrEnum
from typing import Any

from pydantic import Field, computed_field

from procurator.query_api.models.common import Estimated, LogId, Model, Offset, Time, Tokens, Usd, UuidText


class Role(StrEnum):
    """Who speaks in a turn."""

    USER = "USER"
    ASSISTANT = "ASSISTANT"
    TOOL = "TOOL"
    SYSTEM = "SYSTEM"


class CallStatus(StrEnum):
    """How a call ended."""

    SUCCESS = "SUCCESS"
    ERROR = "ERROR"
    TIMEOUT = "TIMEOUT"
    CANCELLED = "CANCELLED"


class Turn(Tokens):
    """One turn, exactly as recorded. Model, tokens and cost are those of the model calls that name this turn."""

    turn_index: int = Field(examples=[0])
    """Position in the session, from 0."""
    role: Role
    content: str = Field(examples=["Where is my order?"])
    thinking: str | None
    """Reasoning before the content."""
    truncated: bool = False
    """Whether content or thinking was cut, as ``body_chars`` asked."""
    timestamp: Time
    tool_call_id: str | None
    """Tool call whose result this turn carries; with role TOOL."""
    model_call_id: str | None
    """Model call that produced this turn; with role ASSISTANT."""
    provider: str | None = Field(examples=["openai"])
    model: str | None = Field(examples=["gpt-4o"])
    """Model that answered last; null when no call of this turn has completed."""
    model_calls: int
    """Completed model calls of this turn."""
    cost_usd: Usd | None
    """Sum over the calls that have a price, in USD; null when none has."""
    unpriced_calls: int
    estimated: Estimated
    log_id: LogId
    offset: Offset


class Call(Model):
    """What tool calls and model calls have in common. One that has only started is open: no status, no completion."""

    status: CallStatus | None
    """Null while the call is open."""
    error_message: str | None
    started_at: Time | None
    """Null when the start was never recorded."""
    completed_at: Time | None
    """Null while the call is open."""
    latency_ms: float | None = Field(examples=[182.4])
    """Milliseconds from request to answer."""
    turn_index: int | None = Field(examples=[1])
    """Turn that triggered the call; null when the runtime did not say."""
    estimated: Estimated
    log_id: LogId
    offset: Offset
    """Offset of the call's first record."""


class ToolCall(Call):
    """One tool call: the record of its start and that of its completion."""

    tool_call_id: str = Field(examples=["call_7"])
    tool_name: str = Field(examples=["get_order"])
    mcp_server_id: str | None = Field(examples=["orders"])
    """MCP server that offers the tool; null for a local tool."""
    input: str | None = Field(examples=['{"order_id":"4711"}'])
    """Arguments as the agent passed them, JSON text."""
    output: str | None = Field(examples=['{"state":"shipped"}'])
    """What the tool returned, JSON text."""
    truncated: bool = False
    """Whether input or output was cut, as ``body_chars`` asked: then it is no JSON."""
    timeout_ms: float | None = Field(examples=[30000])
    """Configured timeout in milliseconds."""


class ModelCall(Call, Tokens):
    """One model call. Tokens are 0 until it completes."""

    model_call_id: str = Field(examples=["m-3"])
    provider: str = Field(examples=["openai"])
    model: str = Field(examples=["gpt-4o"])
    """Model that answered; while the call is open the one requested."""
    first_token_ms: float | None = Field(examples=[310.0])
    """Milliseconds from request to the first token."""
    cost_usd: Usd | None
    """Cost in USD by the price in force; null when open or unpriced."""
    price_version: str | None
    """Version of the price that gave the cost."""
    reported_cost_usd: Usd | None
    """What the runtime or provider reported, in USD."""

    @computed_field(examples=[False])  # type: ignore[prop-decorator]
    @property
    def unpriced(self) -> bool:
        """The call completed and there is no price for it."""
        return self.completed_at is not None and self.cost_usd is None


class Entry(Model):
    """A record of the session as it stands in the ledger, whether it counts or not."""

    log_id: LogId
    offset: Offset
    broker_time: Time
    leaf_index: int = Field(examples=[1200])
    """The entry's place in its log's Merkle tree, from 0, without holes."""
    leaf_hash: str = Field(examples=["9f" * 32])
    """RFC 6962 leaf hash, in hexadecimal."""
    key: str | None
    """The record's key; text where it is UTF-8, otherwise hexadecimal after ``0x``."""
    kind: str = Field(examples=["TurnRecorded"])
    """Type of the payload."""
    flags: list[str] = Field(examples=[[]])
    """rejected, misplaced, repeated; an entry that has any counts nowhere."""
    rejected_reason: str | None
    value_sha256: str | None = Field(examples=["3b" * 32])
    """SHA-256 of the record's exact bytes, in hexadecimal; null when it has no value."""
    value_bytes: int | None
    """Length of the record's value in bytes."""
    event_id: UuidText | None
    emitter_id: str | None
    sequence: int | None
    """Number of the event in its session and emitter, from 0."""
    occurred_at: Time | None
    """By the emitter's clock."""
    event: dict[str, Any] | None
    """The event, decoded from the exact bytes: envelope and payload; bytes are hexadecimal. Null when undecodable."""
