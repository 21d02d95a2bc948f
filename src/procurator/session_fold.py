"""What each kind of event does to a session's state: the steps of `SessionState.apply`, in order of a session's life.

A step takes (state, payload, occurred_at in µs) and changes the state in place; everything it keeps is bounded.
"""

from bisect import bisect_right
from collections.abc import Callable
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from procurator import events, sequences, transitions
from procurator import session_flags as flag
from procurator.avro_schemas.codec import to_decimal
from procurator.events import TOKEN_BUCKETS
from procurator.pricing import EXACT, Cost, differs
from procurator.session_flags import (
    APPROVALS_MAX,
    ATTOUSD_MAX,
    NAMES_MAX,
    OPEN_CALLS_MAX,
    SUM_MAX,
    TEXT_CHARS_MAX,
    TURNS_MAX,
)
from procurator.transitions import Ending

if TYPE_CHECKING:
    from procurator.session_state import Names, OpenCalls, SessionState

K = TypeVar("K")
V = TypeVar("V")
Payload = dict[str, Any]
Step = Callable[["SessionState", Payload, int], None]

_STARTED_TEXTS = ("team_id", "team_name", "user_id", "schedule_id", "workflow_id", "workflow_run_id")


def session_started(state: "SessionState", payload: Payload, occurred_at: int) -> None:
    if state.started_at is not None:
        state.raised[flag.STARTED_AGAIN] = None
        return
    state.started_at = occurred_at
    state.agent_name = payload["agent_name"]
    for name in _STARTED_TEXTS:
        setattr(state, name, payload[name])
    state.initiator = payload["initiator"]
    state.origin = payload["origin"]
    state.parent_session_id = payload["parent_session_id"]
    state.timeout_s = payload["timeout_s"]
    if state.timeout_s is not None:  # by broker time: the emitter's clock may be anywhere
        state.deadline_at = state.as_of + state.timeout_s * 1_000_000
    state.labels = dict(payload["labels"])


def turn_recorded(state: "SessionState", payload: Payload, _occurred_at: int) -> None:
    state.turns += 1
    index = payload["turn_index"]
    if sequences.observe(state.turn_runs, index):
        state.raised[flag.DUPLICATE_TURN] = None
    elif len(state.turn_runs) > 2 * TURNS_MAX:
        del state.turn_runs[:2]
        state.raised[flag.OVER_LIMIT] = None
    state.awaited_turns.pop(index, None)


def model_call_started(state: "SessionState", payload: Payload, occurred_at: int) -> None:
    if _open(state, state.open_models, payload["model_call_id"], payload["model"], occurred_at):
        state.model_calls += 1


def model_call_completed(state: "SessionState", payload: Payload, cost: Cost | None) -> None:
    """Count the call's tokens and its cost, None being unpriced. The one event that has a cost."""
    if _close(state, state.open_models, payload["model_call_id"]):
        state.model_calls += 1
    if payload["status"] == "SUCCESS":
        _await_turn(state, payload["turn_index"])
    note(state, state.models, payload["model"])
    state.input_tokens += (fresh := payload["input_tokens"])
    state.cached_input_tokens += (cached := payload["cached_input_tokens"])
    state.cache_write_tokens += (written := payload["cache_write_tokens"])
    state.output_tokens += (output := payload["output_tokens"])
    state.reasoning_tokens += (reasoning := payload["reasoning_tokens"])
    if cost is None:
        state.unpriced_calls += 1
        state.unpriced_tokens += fresh + cached + written + output + reasoning
    else:
        state.priced_calls += 1
        state.cost_attousd += int(cost.cost_usd.scaleb(18, EXACT))
    if payload["reported_cost_usd"] is not None:
        reported = to_decimal(payload["reported_cost_usd"])
        state.reported_cost_attousd = (state.reported_cost_attousd or 0) + int(reported.scaleb(18, EXACT))
        if cost is not None and differs(reported, cost.cost_usd):
            state.raised[flag.REPORTED_COST_DIFFERS] = None
    _stop_sums(state)


def tool_call_started(state: "SessionState", payload: Payload, occurred_at: int) -> None:
    _note_tool(state, payload)
    if _open(state, state.open_tools, payload["tool_call_id"], payload["tool_name"], occurred_at):
        state.tool_calls += 1


def tool_call_completed(state: "SessionState", payload: Payload, _occurred_at: int) -> None:
    _note_tool(state, payload)
    if _close(state, state.open_tools, payload["tool_call_id"]):
        state.tool_calls += 1
    if payload["status"] == "SUCCESS":
        _await_turn(state, payload["turn_index"])
    elif payload["status"] != "CANCELLED":
        state.tool_errors += 1


def approval_requested(state: "SessionState", payload: Payload, _occurred_at: int) -> None:
    approval_id = payload["approval_id"]
    if approval_id in state.pending_approvals:
        state.raised[flag.DUPLICATE_APPROVAL] = None
    _keep(state, state.pending_approvals, approval_id, payload["expires_at"], APPROVALS_MAX)
    state.status = transitions.next_status(state.status, transitions.APPROVAL_REQUESTED)


def approval_decided(state: "SessionState", payload: Payload, _occurred_at: int) -> None:
    approval_id = payload["approval_id"]
    if approval_id not in state.pending_approvals:
        state.raised[flag.DECISION_WITHOUT_REQUEST] = None
        return
    del state.pending_approvals[approval_id]
    if not state.pending_approvals:
        state.status = transitions.next_status(state.status, transitions.APPROVALS_DECIDED)


def session_ended(state: "SessionState", payload: Payload, occurred_at: int) -> None:
    ending = Ending(occurred_at, payload["inferred"])
    if state.completed_at is None:
        state.status = transitions.next_status(state.status, payload["status"])
    elif transitions.prevails(ending, Ending(state.completed_at, state.end_inferred)):
        state.status = payload["status"]
        # What stood after the inferred end stood before this one, the first that somebody stated.
        state.raised.pop(flag.EVENT_AFTER_END, None)
    else:
        if not ending.inferred:  # an inferred ending that comes second yields, which is no oddity
            state.raised[flag.ENDED_AGAIN] = None
        return
    error = payload["error"]
    state.error = error and {name: None if text is None else _clip(state, text) for name, text in error.items()}
    state.completed_at = occurred_at
    state.end_inferred = ending.inferred
    state.ended_by = payload["ended_by"]
    state.end_reason = None if payload["reason"] is None else _clip(state, payload["reason"])


def gap(state: "SessionState", payload: Payload, _occurred_at: int) -> None:
    state.dropped_events = min(state.dropped_events + payload["events_dropped"], SUM_MAX)


def cost_corrected(state: "SessionState", payload: Payload, _occurred_at: int) -> None:
    """Add what a call costs more or less than it was charged for, as somebody found out later."""
    state.cost_attousd += int.from_bytes(payload["difference_usd"], "big", signed=True)
    if payload["newly_priced_tokens"] is not None:
        state.priced_calls += 1
        state.unpriced_calls -= 1
        state.unpriced_tokens -= payload["newly_priced_tokens"]
    _stop_sums(state)


#: Heartbeats change nothing but the count of events; a completed model call takes its cost, so it is not here.
STEPS: MappingProxyType[str, Step] = MappingProxyType(
    {
        events.SESSION_STARTED: session_started,
        events.TURN_RECORDED: turn_recorded,
        events.MODEL_CALL_STARTED: model_call_started,
        events.TOOL_CALL_STARTED: tool_call_started,
        events.TOOL_CALL_COMPLETED: tool_call_completed,
        events.APPROVAL_REQUESTED: approval_requested,
        events.APPROVAL_DECIDED: approval_decided,
        events.SESSION_ENDED: session_ended,
        events.GAP: gap,
        events.COST_CORRECTED: cost_corrected,
    }
)


def note(state: "SessionState", names: "Names", name: str) -> None:
    """Add ``name`` to an ordered set of names, unless that is full."""
    if name in names:
        return
    if len(names) < NAMES_MAX:
        names[name] = None
    else:
        state.raised[flag.OVER_LIMIT] = None


def _note_tool(state: "SessionState", payload: Payload) -> None:
    note(state, state.tools, payload["tool_name"])
    if payload["mcp_server_id"] is not None:
        note(state, state.mcp_servers, payload["mcp_server_id"])


def _open(state: "SessionState", calls: "OpenCalls", call_id: str, name: str, started_at: int) -> bool:
    """Note that a call has started; return whether it is to be counted now."""
    if call_id in state.completed_call_ids:  # counted when it completed
        del state.completed_call_ids[call_id]
        return False
    if call_id in calls:
        state.raised[flag.DUPLICATE_CALL] = None
        return False
    _keep(state, calls, call_id, (name, started_at), OPEN_CALLS_MAX)
    return True


def _close(state: "SessionState", calls: "OpenCalls", call_id: str) -> bool:
    """Note that a call has completed; return whether it is to be counted now, its start not having been seen."""
    if calls.pop(call_id, None) is not None:
        return False
    state.raised[flag.CALL_WITHOUT_START] = None
    known = call_id in state.completed_call_ids
    _keep(state, state.completed_call_ids, call_id, None, OPEN_CALLS_MAX)
    return not known


def _await_turn(state: "SessionState", index: int | None) -> None:
    if index is not None and bisect_right(state.turn_runs, index) % 2 == 0:
        _keep(state, state.awaited_turns, index, None, TURNS_MAX)


def _keep(state: "SessionState", kept: dict[K, V], key: K, value: V, limit: int) -> None:
    kept[key] = value
    if len(kept) > limit:
        del kept[next(iter(kept))]
        state.raised[flag.OVER_LIMIT] = None


def _clip(state: "SessionState", text: str) -> str:
    if len(text) <= TEXT_CHARS_MAX:
        return text
    state.raised[flag.OVER_LIMIT] = None
    return text[:TEXT_CHARS_MAX]


def _stop_sums(state: "SessionState") -> None:
    """Keep sums within what Avro and ClickHouse can hold. No sum gets there honestly."""
    tokens = (
        state.input_tokens
        + state.cached_input_tokens
        + state.cache_write_tokens
        + state.output_tokens
        + state.reasoning_tokens
    )
    money = state.cost_attousd + (state.reported_cost_attousd or 0)
    if tokens <= SUM_MAX and money <= ATTOUSD_MAX:
        return
    state.raised[flag.OVER_LIMIT] = None
    for name in (*TOKEN_BUCKETS, "unpriced_tokens"):
        setattr(state, name, min(getattr(state, name), SUM_MAX))
    state.cost_attousd = min(state.cost_attousd, ATTOUSD_MAX)
    if state.reported_cost_attousd is not None:
        state.reported_cost_attousd = min(state.reported_cost_attousd, ATTOUSD_MAX)
