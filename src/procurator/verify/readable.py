"""What a session's bundle says, for people and programs: a pure function of its exact bytes.

The exporter writes this beside the bundle, the verifier derives it again and compares: an edited word is found. What
does not follow from the events alone (money needs prices) is not here.

Of a session in several logs (a topic that was recreated, records in a wrong partition) the log with the most entries is
told; `events` has all.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from procurator import events
from procurator.avro_json import converter
from procurator.avro_schemas.codec import Decoder, UnknownSchema, load_schema
from procurator.clock import to_rfc3339
from procurator.errors import Rejected
from procurator.events import NAMESPACE, TOKEN_BUCKETS, SessionEvent
from procurator.sequences import Runs, observe
from procurator.session_state import SessionState
from procurator.topics import SESSION_EVENTS, SESSION_STATE
from procurator.verify.bundle_format import Bundle, BundleEntry, BundleLog

#: Fields of a session's state that follow from its events alone.
HEADER = (
    *("session_id", "org_id", "agent_id", "agent_name", "owner_team_id", "team_id", "team_name", "user_id"),
    *("initiator", "origin", "schedule_id", "workflow_id", "workflow_run_id", "parent_session_id", "timeout_s"),
    *("labels", "imported", "status", "error", "ended_by", "end_reason", "end_inferred", "started_at"),
    *("completed_at", "last_activity_at", "turns", "tool_calls", "tool_errors", "model_calls", *TOKEN_BUCKETS),
    *("models", "tools", "mcp_servers", "estimated", "events", "repeated_events", "missing_events", "dropped_events"),
    *("log_id", "as_of_offset", "as_of"),
)
#: Payloads that have a list of their own; of the others an entry has the payload itself.
_LISTED = {
    events.TURN_RECORDED,
    events.TOOL_CALL_STARTED,
    events.TOOL_CALL_COMPLETED,
    events.MODEL_CALL_STARTED,
    events.MODEL_CALL_COMPLETED,
}
_TURN = ("turn_index", "role", "content", "thinking", "tool_call_id", "model_call_id")
_CALL = ("status", "error_message", "latency_ms")
_TOOL = ("tool_call_id", "tool_name", "mcp_server_id", "turn_index", "timeout_ms")
_MODEL = ("model_call_id", "provider", "model", "turn_index")
_MODEL_ASKED = ("input_tokens_estimate", "max_output_tokens", "parameters")
_MODEL_SAID = (*TOKEN_BUCKETS, "first_token_ms", "finish_reason", "reported_cost_usd")

Json = dict[str, Any]


class _Entry(NamedTuple):
    """One entry, its event as JSON values, and whether it repeats an earlier one."""

    place: BundleEntry
    event: SessionEvent
    json: Json
    repeated: bool


def readable(bundle: Bundle, schemas: Mapping[int, str]) -> Json:
    """Return session, turns, tool_calls, model_calls and events of a bundle as JSON values.

    ``schemas``: the writer schemas by id that its control log names. An entry that cannot be read is among ``events``
    without its event.
    """

    def fetch(schema_id: int) -> str:
        if schema_id not in schemas:
            raise UnknownSchema(schema_id)
        return schemas[schema_id]

    decoder = Decoder(load_schema(SESSION_EVENTS.schema), fetch)
    told = max(bundle.logs, key=lambda log: (len(log.entries), log.log_id))
    entries = [*_entries(told, decoder)]
    counted = [entry for entry in entries if not entry.repeated]
    model_calls = _calls(counted, "ModelCall", "model_call_id", _model_call)
    return {
        "session": _session(bundle.session_id, told.log_id, entries),
        "turns": _turns(counted, model_calls),
        "tool_calls": _calls(counted, "ToolCall", "tool_call_id", _tool_call),
        "model_calls": model_calls,
        "events": [shown for log in bundle.logs for shown in _shown(log, decoder)],
    }


_TO_JSON = converter(load_schema(SESSION_EVENTS.schema).text)
_STATE_TO_JSON = converter(load_schema(SESSION_STATE.schema).text)


def _entries(log: BundleLog, decoder: Decoder) -> Iterable[_Entry]:
    runs: dict[str, Runs] = {}
    for place in log.entries:
        try:
            event = events.parse(decoder, place.value)
        except Rejected:
            continue
        repeated = observe(runs.setdefault(event["emitter_id"], []), event["sequence"])
        yield _Entry(place, event, _TO_JSON(event), repeated)


def _session(session_id: str, log_id: str, entries: Iterable[_Entry]) -> Json:
    state = SessionState(session_id)
    for entry in entries:
        state.apply(entry.event, offset=entry.place.offset, broker_time_us=entry.place.broker_time_us, cost=None)
    shown = _STATE_TO_JSON(state.to_record(log_id))
    return {name: shown[name] for name in HEADER}


def _turns(entries: Iterable[_Entry], model_calls: Iterable[Json]) -> list[Json]:
    calls = defaultdict(list)
    for call in model_calls:
        if call["completed_at"] is not None:
            calls[call["turn_index"]].append(call)
    turns = []
    for entry in entries:
        if entry.event["payload"][0] == events.TURN_RECORDED:
            payload = entry.json["payload"]
            own = calls[payload["turn_index"]]
            turns.append(
                {
                    **{name: payload[name] for name in _TURN},
                    "timestamp": entry.json["occurred_at"],
                    "provider": own[-1]["provider"] if own else None,
                    "model": own[-1]["model"] if own else None,
                    **{bucket: sum(call[bucket] for call in own) for bucket in TOKEN_BUCKETS},
                    "estimated": entry.json["estimated"],
                    "offset": entry.place.offset,
                }
            )
    return sorted(turns, key=lambda turn: (turn["turn_index"], turn["offset"]))


def _calls(entries: Iterable[_Entry], kind: str, id_name: str, show: Any) -> list[Json]:
    """Return calls in the order of their first record; the n-th start of an id belongs to its n-th completion."""
    halves: dict[str, list[list[_Entry | None]]] = defaultdict(list)
    order: list[tuple[int, list[_Entry | None]]] = []
    for entry in entries:
        name = entry.event["payload"][0].removeprefix(NAMESPACE)
        if name not in (f"{kind}Started", f"{kind}Completed"):
            continue
        side = int(name.endswith("Completed"))
        of_id = halves[entry.json["payload"][id_name]]
        call = next((call for call in of_id if call[side] is None), None)
        if call is None:
            call = [None, None]
            of_id.append(call)
            order.append((entry.place.offset, call))
        call[side] = entry
    return [show(started, completed) for _, (started, completed) in sorted(order, key=lambda each: each[0])]


def _call(started: _Entry | None, completed: _Entry | None, names: Iterable[str]) -> Json:
    """Return what both kinds of call have. Where both records name something, the completion counts."""
    asked = {} if started is None else started.json["payload"]
    said = {} if completed is None else completed.json["payload"]
    halves = [half for half in (started, completed) if half is not None]
    return {
        **{name: asked.get(name) if said.get(name) is None else said[name] for name in names},
        **{name: said.get(name) for name in _CALL},
        "started_at": started and started.json["occurred_at"],
        "completed_at": completed and completed.json["occurred_at"],
        "estimated": sorted({name for half in halves for name in half.json["estimated"]}),
        "offset": halves[0].place.offset,
    }


def _tool_call(started: _Entry | None, completed: _Entry | None) -> Json:
    return {
        **_call(started, completed, _TOOL),
        "input": started and started.json["payload"]["input"],
        "output": completed and completed.json["payload"]["output"],
    }


def _model_call(started: _Entry | None, completed: _Entry | None) -> Json:
    asked = {} if started is None else started.json["payload"]
    said = {} if completed is None else completed.json["payload"]
    return {
        **_call(started, completed, _MODEL),
        **{name: asked.get(name) for name in _MODEL_ASKED},
        **{name: said.get(name, 0 if name in TOKEN_BUCKETS else None) for name in _MODEL_SAID},
    }


def _shown(log: BundleLog, decoder: Decoder) -> Iterable[Json]:
    """Yield every entry of a log: its place, its leaf, its envelope; the payload unless a list of its own has it."""
    for place in log.entries:
        try:
            event: SessionEvent | None = events.parse(decoder, place.value)
        except Rejected:
            event = None
        shown = {} if event is None else _TO_JSON(event)
        payload = shown.get("payload")
        is_listed = event is not None and event["payload"][0] in _LISTED
        yield {
            "log_id": log.log_id,
            "offset": place.offset,
            "broker_time": to_rfc3339(place.broker_time_us),
            "leaf_index": place.leaf_index,
            "leaf_hash": place.leaf_hash(log.log_id).hex(),
            "value_sha256": None if place.value is None else sha256(place.value).hexdigest(),
            "kind": payload and payload["kind"],
            **{name: shown.get(name) for name in ("event_id", "emitter_id", "sequence", "occurred_at")},
            **{name: shown.get(name) for name in ("org_id", "owner_team_id", "truncations", "redactions")},
            "payload": None if is_listed else payload,
        }
