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
COST_CORRECTED = NAMESPACE + "CostCorrected"

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
#: Avro's int, which writers and readers in Python do not hold to its 32 bits: `turn_index` and `timeout_s`.
INT_MAX = 2**31 - 1
#: Characters of an identity, of whatever else names or identifies something, and of a label's name and value.
NAME_CHARS_MAX = 1_024
#: Labels of a session, and names of estimated fields of an event.
LABELS_MAX = 100
ESTIMATED_MAX = 100
#: Which fields of a payload name or identify something: they become keys, columns of few values and lists of names.
NAMES: dict[str, tuple[str, ...]] = {
    SESSION_STARTED: (
        *("agent_name", "team_id", "team_name", "user_id", "runtime"),
        *("schedule_id", "workflow_id", "workflow_run_id"),
    ),
    TURN_RECORDED: ("tool_call_id", "model_call_id"),
    MODEL_CALL_STARTED: ("model_call_id", "provider", "model"),
    MODEL_CALL_COMPLETED: ("model_call_id", "provider", "model", "finish_reason"),
    TOOL_CALL_STARTED: ("tool_call_id", "tool_name", "mcp_server_id"),
    TOOL_CALL_COMPLETED: ("tool_call_id", "tool_name", "mcp_server_id"),
    APPROVAL_REQUESTED: ("approval_id", "tool_call_id", "budget_id"),
    APPROVAL_DECIDED: ("approval_id", "decided_by"),
    SESSION_ENDED: ("ended_by", "signal_id"),
    COST_CORRECTED: ("model_call_id", "provider", "model", "price_version", "corrected_by"),
}

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
    for identity in _IDENTITIES:
        if not 0 < len(event[identity]) <= NAME_CHARS_MAX:
            raise _misnamed(identity, event[identity])
    if event["estimated"]:
        _estimated(event["estimated"])
    kind, payload = event["payload"]
    for field in NAMES.get(kind, ()):
        name = payload[field]
        if name is not None and len(name) > NAME_CHARS_MAX:
            raise _misnamed(field, name)
    rule = _PAYLOAD_RULES.get(kind)
    if rule is not None:
        rule(payload)


def kind_of(event: SessionEvent) -> str:
    """Return the payload's record name without its namespace, for example ``TurnRecorded``."""
    return event["payload"][0].removeprefix(NAMESPACE)


def _misnamed(field: str, name: str) -> RuleBroken:
    return RuleBroken(
        field, f"has {len(name):,} characters, at most {NAME_CHARS_MAX:,} are taken" if name else "is empty"
    )


def _estimated(names: list[str]) -> None:
    if len(names) > ESTIMATED_MAX:
        raise RuleBroken("estimated", f"has {len(names):,} names, at most {ESTIMATED_MAX} are taken")
    for name in names:
        if len(name) > NAME_CHARS_MAX:
            raise _misnamed("estimated", name)


def _labels(labels: dict[str, str]) -> None:
    if len(labels) > LABELS_MAX:
        raise RuleBroken("labels", f"are {len(labels):,}, at most {LABELS_MAX} are taken")
    for text in (*labels, *labels.values()):
        if len(text) > NAME_CHARS_MAX:
            raise _misnamed("labels", text)


def _within(payload: dict[str, Any], field: str, maximum: float = INTEGER_MAX) -> None:
    value = payload[field]
    if value is not None and not 0 <= value <= maximum:  # which NaN is not, either
        raise RuleBroken(field, f"{value} is not within 0 and {maximum}")


def _session_started(payload: dict[str, Any]) -> None:
    parent = payload["parent_session_id"]
    if parent is not None and not _UUID(parent):
        raise RuleBroken("parent_session_id", f"{parent!r} is no UUID in lower case")
    _within(payload, "timeout_s", INT_MAX)
    _labels(payload["labels"])


def _turn_recorded(payload: dict[str, Any]) -> None:
    _within(payload, "turn_index", INT_MAX)


def _model_call_started(payload: dict[str, Any]) -> None:
    _within(payload, "turn_index", INT_MAX)
    for field in ("input_tokens_estimate", "max_output_tokens"):
        _within(payload, field)


def _model_call_completed(payload: dict[str, Any]) -> None:
    _within(payload, "turn_index", INT_MAX)
    for field in (*TOKEN_BUCKETS, "latency_ms", "first_token_ms"):
        _within(payload, field)
    reported = payload["reported_cost_usd"]
    if reported and reported[0] & 0x80:
        raise RuleBroken("reported_cost_usd", "is negative")
    if reported and int.from_bytes(reported, "big") >= 10**38:
        raise RuleBroken("reported_cost_usd", "is beyond decimal(38, 18)")


def _tool_call(payload: dict[str, Any]) -> None:
    _within(payload, "turn_index", INT_MAX)
    _within(payload, "timeout_ms")


def _tool_call_completed(payload: dict[str, Any]) -> None:
    _tool_call(payload)
    _within(payload, "latency_ms")


def _approval_requested(payload: dict[str, Any]) -> None:
    _within(payload, "expires_at", TIME_US_MAX)


def _gap(payload: dict[str, Any]) -> None:
    for field in ("events_dropped", "first_sequence", "last_sequence"):
        _within(payload, field)


def _cost_corrected(payload: dict[str, Any]) -> None:
    _within(payload, "turn_index", INT_MAX)
    for field in ("corrects_offset", "newly_priced_tokens"):
        _within(payload, field)
    _within(payload, "charged_at", TIME_US_MAX)
    if abs(int.from_bytes(payload["difference_usd"], "big", signed=True)) >= 10**38:
        raise RuleBroken("difference_usd", "is beyond decimal(38, 18)")


_PAYLOAD_RULES = {
    SESSION_STARTED: _session_started,
    TURN_RECORDED: _turn_recorded,
    MODEL_CALL_STARTED: _model_call_started,
    MODEL_CALL_COMPLETED: _model_call_completed,
    TOOL_CALL_STARTED: _tool_call,
    TOOL_CALL_COMPLETED: _tool_call_completed,
    APPROVAL_REQUESTED: _approval_requested,
    GAP: _gap,
    COST_CORRECTED: _cost_corrected,
}
