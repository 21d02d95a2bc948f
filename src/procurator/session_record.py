"""A session's state as a raw record of session_state.avsc, and back: a snapshot from which folding goes on exactly."""

from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from procurator.session_flags import CALL_WITHOUT_TURN

if TYPE_CHECKING:
    from procurator.session_state import SessionState

#: Fields that are the same in the record and in the state.
PLAIN = (
    "session_id",
    "as_of_offset",
    "as_of",
    "org_id",
    "agent_id",
    "agent_name",
    "owner_team_id",
    "team_id",
    "team_name",
    "user_id",
    "initiator",
    "origin",
    "schedule_id",
    "workflow_id",
    "workflow_run_id",
    "parent_session_id",
    "timeout_s",
    "labels",
    "imported",
    "status",
    "error",
    "ended_by",
    "end_reason",
    "end_inferred",
    "started_at",
    "completed_at",
    "last_activity_at",
    "turns",
    "tool_calls",
    "tool_errors",
    "model_calls",
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "priced_calls",
    "unpriced_calls",
    "unpriced_tokens",
    "events",
    "repeated_events",
    "dropped_events",
    "turn_runs",
    "deadline_at",
)
#: Ordered sets in the state, arrays in the record.
NAMES = ("models", "tools", "mcp_servers", "estimated", "completed_call_ids", "awaited_turns")

_plain_of = attrgetter(*PLAIN)
_TOOL = "TOOL"
_MODEL = "MODEL"


class Reservation(NamedTuple):
    """What an open model call may come to spend: where it started, when it is charged, 10^-18 USD, tokens."""

    offset: int
    charged_at: int
    attousd: int
    tokens: int


def of_state(state: "SessionState", log_id: str) -> dict[str, Any]:
    """Return the raw record of ``state``, whose events are in the log ``log_id``. Lists and maps are shared."""
    record: dict[str, Any] = dict(zip(PLAIN, _plain_of(state), strict=True))
    record["log_id"] = log_id
    record["cost_usd"] = _to_bytes(state.cost_attousd)
    reported = state.reported_cost_attousd
    record["reported_cost_usd"] = None if reported is None else _to_bytes(reported)
    for name in NAMES:
        record[name] = list(getattr(state, name))
    pending = state.pending_approvals
    record["pending_approvals"] = list(pending)
    record["approval_deadlines"] = {name: at for name, at in pending.items() if at is not None} if pending else {}
    record["missing_events"] = state.missing_events
    record["flags"] = state.flags
    record["emitters"] = [{"emitter_id": emitter_id, "runs": runs} for emitter_id, runs in state.emitters.items()]
    record["open_tool_calls"] = len(state.open_tools)
    record["open_model_calls"] = len(state.open_models)
    record["open_calls"] = [
        {"call_id": call_id, "kind": kind, "name": name, "started_at": started_at}
        for kind, calls in ((_TOOL, state.open_tools), (_MODEL, state.open_models))
        for call_id, (name, started_at) in calls.items()
    ]
    record["reservations"] = [
        {"call_id": call_id, "offset": offset, "charged_at": at, "usd": _to_bytes(attousd), "tokens": tokens}
        for call_id, (offset, at, attousd, tokens) in state.reservations.items()
    ]
    return record


def to_fields(record: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of the state in a raw record, as SessionState takes them. The record must not be used again.

    `missing_events`, `open_…_calls` and the flag about awaited turns follow from the rest.
    """
    fields = {name: record[name] for name in PLAIN}
    for name in NAMES:
        fields[name] = dict.fromkeys(record[name])
    deadlines = record["approval_deadlines"]
    fields["pending_approvals"] = {name: deadlines.get(name) for name in record["pending_approvals"]}
    fields["cost_attousd"] = _from_bytes(record["cost_usd"])
    reported = record["reported_cost_usd"]
    fields["reported_cost_attousd"] = None if reported is None else _from_bytes(reported)
    fields["raised"] = dict.fromkeys(name for name in record["flags"] if name != CALL_WITHOUT_TURN)
    fields["emitters"] = {emitter["emitter_id"]: emitter["runs"] for emitter in record["emitters"]}
    for name, kind in (("open_tools", _TOOL), ("open_models", _MODEL)):
        fields[name] = {
            call["call_id"]: (call["name"], call["started_at"]) for call in record["open_calls"] if call["kind"] == kind
        }
    fields["reservations"] = {
        held["call_id"]: Reservation(held["offset"], held["charged_at"], _from_bytes(held["usd"]), held["tokens"])
        for held in record["reservations"]
    }
    return fields


def _to_bytes(attousd: int) -> bytes:
    return attousd.to_bytes((attousd.bit_length() + 8) // 8, "big", signed=True)


def _from_bytes(raw: bytes) -> int:
    return int.from_bytes(raw, "big", signed=True)
