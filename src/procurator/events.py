"""Session events as they stand on the wire: their types, and the rules that one record must keep by itself.

What a record shows is judged by that record alone, so that every component judges alike: `parse` either returns the
event or raises Rejected, and nothing outside the record's bytes matters (but for the schema it names).
Values are raw, see `procurator.avro_schemas.codec`: times are µs since the epoch, decimals unscaled bytes.
"""

import re
from typing import Any, Literal, TypedDict

from procurator.avro_schemas.codec import Decoder
from procurator.errors import Rejected

NAMESPACE = "procurator.v1."

SESSION_STARTED = NAMESPACE + "SessionStarted"
TURN_RECORDED = NAMESPACE + "TurnRecorded"
MODEL_CALL_STARTED = NAMESPACE + "ModelCallStarted"
MODEL_CALL_COMPLETED = NAMESPACE + "ModelCallCompleted"
TOOL_CALL_STARTED = NAMESPACE + "ToolCallStarted"
TOOL_CALL_COMPLETED = NAMESPACE + "ToolCallCompleted"
APPROVAL_REQUESTED = NAMESPACE + "ApprovalRequested"
APPROVAL_DECIDED = NAMESPACE + "ApprovalDecided"
SESSION_ENDED = NAMESPACE + "SessionEnded"
HEARTBEAT = NAMESPACE + "Heartbeat"
GAP = NAMESPACE + "Gap"

#: The disjoint buckets of a model call's tokens.
TOKEN_BUCKETS = (
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
)
#: Integers beyond this are not exact in JSON and JavaScript.
INTEGER_MAX = 2**53
#: What ClickHouse's DateTime64(6) can show.
TIME_US_MAX = 9_223_372_036_854_775_807 // 1000

_IDENTITIES: tuple[Literal["emitter_id", "org_id", "agent_id", "owner_team_id"], ...] = (
    "emitter_id",
    "org_id",
    "agent_id",
    "owner_team_id",
)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch


class SessionEvent(TypedDict):
    """The envelope. ``payload`` is (full record name, record)."""

    event_id: str
    session_id: str
    emitter_id: str
    sequence: int
    occurred_at: int
    nonce: bytes
    imported: bool
    org_id: str
    agent_id: str
    owner_team_id: str
    estimated: list[str]
    truncations: list[dict[str, Any]]
    redactions: list[dict[str, Any]]
    payload: tuple[str, dict[str, Any]]


class RuleBroken(Rejected):
    """The record decodes but breaks a rule of its own; ``field`` names where."""

    reason = "rule_broken"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


def parse(decoder: Decoder, value: bytes | None) -> SessionEvent:
    """Return the event in a record's value.

    Raises a Rejected when no event can be made of these bytes, ever; Unavailable when the registry is away.
    """
    event: SessionEvent = decoder.decode(value)  # type: ignore[assignment]
    check(event)
    return event


def is_uuid(text: str) -> bool:
    """Tell whether ``text`` is a UUID as identities are written on the wire: canonical, in lower case."""
    return _UUID(text) is not None


def check(event: SessionEvent) -> None:
    """Raise RuleBroken for the first rule that ``event`` breaks by itself."""
    if not _UUID(event["session_id"]):
        raise RuleBroken("session_id", f"{event['session_id']!r} is no UUID in lower case")
    if not _UUID(event["event_id"]):
        raise RuleBroken("event_id", f"{event['event_id']!r} is no UUID in lower case")
    if not 0 <= event["sequence"] <= INTEGER_MAX:
        raise RuleBroken("sequence", f"{event['sequence']} is not within 0 and 2^53")
    if not 0 <= event["occurred_at"] <= TIME_US_MAX:
        raise RuleBroken("occurred_at", f"{event['occurred_at']} µs is not within 1970 and 2262")
    if not (event["emitter_id"] and event["org_id"] and event["agent_id"] and event["owner_team_id"]):
        raise RuleBroken(next(field for field in _IDENTITIES if not event[field]), "is empty")
    kind, payload = event["payload"]
    rule = _PAYLOAD_RULES.get(kind)
    if rule is not None:
        rule(payload)


def kind_of(event: SessionEvent) -> str:
    """Return the payload's record name without its namespace, for example ``TurnRecorded``."""
    return event["payload"][0].removeprefix(NAMESPACE)


def _within(payload: dict[str, Any], field: str, maximum: float = INTEGER_MAX) -> None:
    value = payload[field]
    if value is not None and not 0 <= value <= maximum:  # which NaN is not, either
        raise RuleBroken(field, f"{value} is not within 0 and {maximum}")


def _session_started(payload: dict[str, Any]) -> None:
    parent = payload["parent_session_id"]
    if parent is not None and not _UUID(parent):
        raise RuleBroken("parent_session_id", f"{parent!r} is no UUID in lower case")
    _within(payload, "timeout_s")


def _turn_recorded(payload: dict[str, Any]) -> None:
    _within(payload, "turn_index")


def _model_call_started(payload: dict[str, Any]) -> None:
    for field in ("turn_index", "input_tokens_estimate", "max_output_tokens"):
        _within(payload, field)


def _model_call_completed(payload: dict[str, Any]) -> None:
    for field in (*TOKEN_BUCKETS, "turn_index", "latency_ms", "first_token_ms"):
        _within(payload, field)
    reported = payload["reported_cost_usd"]
    if reported and reported[0] & 0x80:
        raise RuleBroken("reported_cost_usd", "is negative")
    if reported and int.from_bytes(reported, "big") >= 10**38:
        raise RuleBroken("reported_cost_usd", "is beyond decimal(38, 18)")


def _tool_call(payload: dict[str, Any]) -> None:
    for field in ("turn_index", "timeout_ms"):
        _within(payload, field)


def _tool_call_completed(payload: dict[str, Any]) -> None:
    _tool_call(payload)
    _within(payload, "latency_ms")


def _gap(payload: dict[str, Any]) -> None:
    for field in ("events_dropped", "first_sequence", "last_sequence"):
        _within(payload, field)


_PAYLOAD_RULES = {
    SESSION_STARTED: _session_started,
    TURN_RECORDED: _turn_recorded,
    MODEL_CALL_STARTED: _model_call_started,
    MODEL_CALL_COMPLETED: _model_call_completed,
    TOOL_CALL_STARTED: _tool_call,
    TOOL_CALL_COMPLETED: _tool_call_completed,
    GAP: _gap,
}
