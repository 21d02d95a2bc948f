"""Records → columns of the ledger's tables. Pure, a function of the records and of what is passed in.

Every record gets a row: one that is rejected keeps its place, its bytes and its leaf, and has defaults elsewhere.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import pyarrow as pa

from procurator.audit_events import AuditEvent
from procurator.avro_schemas.codec import load_schema, to_decimal
from procurator.errors import Rejected
from procurator.event_cost import cache_saved_usd, event_cost
from procurator.events import (
    COST_CORRECTED,
    MODEL_CALL_COMPLETED,
    NAMESPACE,
    SESSION_ENDED,
    TOKEN_BUCKETS,
    TOOL_CALL_COMPLETED,
    TOOL_CALL_STARTED,
    TURN_RECORDED,
    SessionEvent,
)
from procurator.partitioner import partition_of
from procurator.pricing import PriceBook
from procurator.sink import arrow
from procurator.sink.arrow import Array
from procurator.sink.ledger import Log
from procurator.sink.records import Records

REJECTED = "rejected"
MISPLACED = "misplaced"
REPEATED = "repeated"

MESSAGE_CHARS_MAX = 500
NO_UUID = "00000000-0000-0000-0000-000000000000"

E = TypeVar("E")
Columns = dict[str, Array]


class Parsed(NamedTuple, Generic[E]):
    """The events of a block's records, None where a record is rejected; ``rejected``: index → why."""

    events: list[E | None]
    rejected: dict[int, Rejected]


def parse_all(parse: Callable[[bytes | None], E], values: Sequence[bytes | None]) -> Parsed[E]:
    """Parse each value. Raises Unavailable when the registry is away; then nothing has been decided."""
    events: list[E | None] = []
    rejected: dict[int, Rejected] = {}
    for value in values:
        try:
            events.append(parse(value))
        except Rejected as why:
            rejected[len(events)] = why
            events.append(None)
    return Parsed(events, rejected)


def event_flags(
    events: Sequence[SessionEvent | None],
    log: Log,
    observe: Callable[[Sequence[SessionEvent]], Sequence[bool]],
) -> list[tuple[str, ...]]:
    """Return the flags of each record. ``observe`` tells which of the well-placed events repeat an earlier one."""
    partition, partitions = log.partition, log.partitions
    flags: list[tuple[str, ...]] = []
    placed: list[int] = []
    for index, event in enumerate(events):
        if event is None:
            flags.append((REJECTED,))
        elif partition_of(event["session_id"], partitions) != partition:
            flags.append((MISPLACED,))
        else:
            flags.append(())
            placed.append(index)
    for index, repeated in zip(placed, observe([events[index] for index in placed]), strict=True):  # type: ignore[misc]
        if repeated:
            flags[index] = (REPEATED,)
    return flags


def audit_flags(events: Sequence[AuditEvent | None]) -> list[tuple[str, ...]]:
    """Return the flags of each record; audit events are not in sessions, so they have no right place."""
    return [(REJECTED,) if event is None else () for event in events]


def message_of(why: Rejected) -> str:
    """Return what is wrong, for people: one bounded text that any encoder takes, whatever the record held."""
    return str(why)[:MESSAGE_CHARS_MAX].encode("utf-8", "backslashreplace").decode()


def entry_columns(
    log_id: str,
    first_leaf_index: int,
    records: Records,
    leaf_hashes: Sequence[bytes],
    flags: Sequence[Sequence[str]],
    rejected: dict[int, Rejected],
) -> Columns:
    """Return the columns that every ledgered topic's table has."""
    count = len(records)
    reasons = [""] * count
    messages = [""] * count
    for index, why in rejected.items():
        reasons[index], messages[index] = why.reason, message_of(why)
    return {
        "log_id": arrow.constant(log_id, count),
        "offset": pa.array(records.offsets, pa.uint64()),
        "leaf_index": pa.array(range(first_leaf_index, first_leaf_index + count), pa.uint64()),
        "leaf_hash": arrow.digests(leaf_hashes),
        "broker_time": pa.array(records.broker_times_us, pa.int64()).cast(arrow.TIMESTAMP),
        "key": pa.array(records.keys, pa.binary()),
        "value": pa.array(records.values, pa.binary()),
        "flags": arrow.lists(flags),
        "rejected_reason": pa.array(reasons, pa.string()),
        "rejected_message": pa.array(messages, pa.string()),
    }


_NO_EVENT: dict[str, Any] = {
    "event_id": None,
    "session_id": NO_UUID,
    "emitter_id": "",
    "sequence": None,
    "occurred_at": None,
    "imported": False,
    "org_id": "",
    "agent_id": "",
    "owner_team_id": "",
    "estimated": (),
    "payload": ("", {}),
}
#: Column → (its Arrow type, its default): taken from the payload's field of the same name.
_PAYLOAD_COLUMNS: dict[str, tuple[Any, Any]] = {
    "turn_index": (pa.uint32(), None),
    "role": (pa.string(), ""),
    "thinking": (pa.string(), None),
    "tool_call_id": (pa.string(), None),
    "model_call_id": (pa.string(), None),
    "approval_id": (pa.string(), None),
    "tool_name": (pa.string(), ""),
    "mcp_server_id": (pa.string(), None),
    "provider": (pa.string(), ""),
    "model": (pa.string(), ""),
    "status": (pa.string(), ""),
    "error_message": (pa.string(), None),
    "reason": (pa.string(), None),
    "latency_ms": (pa.float64(), None),
    "first_token_ms": (pa.float64(), None),
    "timeout_ms": (pa.float64(), None),
    "corrects_offset": (pa.uint64(), None),
    "newly_priced_tokens": (pa.uint64(), None),
    **dict.fromkeys(TOKEN_BUCKETS, (pa.uint64(), 0)),
}
_COSTING = frozenset({MODEL_CALL_COMPLETED, COST_CORRECTED})
#: Column of the main body of an event ← of the payloads that have one, in which field.
_CONTENT = "content"
_BODIES = {TURN_RECORDED: "content", TOOL_CALL_STARTED: "input", TOOL_CALL_COMPLETED: "output"}


def _sources() -> dict[str, list[tuple[str, str]]]:
    """Return which fields of which payload go into which column, as (field, column) by kind."""
    document = json.loads(load_schema("session_event").text)
    payloads = next(field["type"] for field in document["fields"] if field["name"] == "payload")
    sources = {}
    for payload in payloads:
        kind = NAMESPACE + payload["name"]
        names = [field["name"] for field in payload["fields"]]
        sources[kind] = [(name, name) for name in names if name in _PAYLOAD_COLUMNS]
        if kind in _BODIES:
            sources[kind].append((_BODIES[kind], _CONTENT))
    return sources


_SOURCES = _sources()


def event_columns(events: Sequence[SessionEvent | None], broker_times_us: Sequence[int], prices: PriceBook) -> Columns:
    """Return the typed columns of session events; what a model call costs by the price at its broker time.

    A correction of that has the difference in the same column.
    """
    rows: list[Any] = [_NO_EVENT if event is None else event for event in events]
    kinds = [row["payload"][0] for row in rows]
    payloads = [row["payload"][1] for row in rows]
    cut = len(NAMESPACE)
    return {
        "event_id": arrow.optional_uuids([row["event_id"] for row in rows]),
        "session_id": arrow.uuids([row["session_id"] for row in rows]),
        "emitter_id": pa.array([row["emitter_id"] for row in rows], pa.string()),
        "sequence": pa.array([row["sequence"] for row in rows], pa.uint64()),
        "occurred_at": pa.array([row["occurred_at"] for row in rows], pa.int64()).cast(arrow.TIMESTAMP),
        "imported": pa.array([row["imported"] for row in rows], pa.bool_()),
        "org_id": pa.array([row["org_id"] for row in rows], pa.string()),
        "agent_id": pa.array([row["agent_id"] for row in rows], pa.string()),
        "owner_team_id": pa.array([row["owner_team_id"] for row in rows], pa.string()),
        "estimated": arrow.lists([row["estimated"] for row in rows]),
        "kind": pa.array([kind[cut:] for kind in kinds], pa.string()),
        **_payload_columns(kinds, payloads),
        **_cost_columns(events, kinds, broker_times_us, prices),
    }


def _payload_columns(kinds: Sequence[str], payloads: Sequence[dict[str, Any]]) -> Columns:
    """Return the columns of payloads' fields. An event fills the few that its kind has; the rest stay as they are."""
    count = len(kinds)
    types = {**_PAYLOAD_COLUMNS, _CONTENT: (pa.string(), None)}
    columns: dict[str, list[Any]] = {name: [default] * count for name, (_, default) in types.items()}
    targets = {kind: [(field, columns[name]) for field, name in fields] for kind, fields in _SOURCES.items()}
    for index, (kind, payload) in enumerate(zip(kinds, payloads, strict=True)):
        for field, column in targets.get(kind, ()):
            column[index] = payload[field]
        if kind == SESSION_ENDED and payload["error"] is not None:
            columns["error_message"][index] = payload["error"]["message"]
    return {name: pa.array(column, types[name][0]) for name, column in columns.items()}


def _cost_columns(
    events: Sequence[SessionEvent | None], kinds: Sequence[str], broker_times_us: Sequence[int], prices: PriceBook
) -> Columns:
    count = len(events)
    costs: list[Any] = [None] * count
    versions = [""] * count
    saved: list[Any] = [None] * count
    reported: list[Any] = [None] * count
    for index, kind in enumerate(kinds):
        if kind in _COSTING and (event := events[index]) is not None:
            if (cost := event_cost(prices, event, broker_times_us[index])) is not None:
                costs[index], versions[index] = cost
                saved[index] = cache_saved_usd(prices, event, broker_times_us[index], cost)
            if (raw := event["payload"][1].get("reported_cost_usd")) is not None:
                reported[index] = to_decimal(raw)
    return {
        "cost_usd": arrow.money(costs),
        "price_version": pa.array(versions, pa.string()),
        "cache_saved_usd": arrow.money(saved),
        "reported_cost_usd": arrow.money(reported),
    }


_AUDIT_COLUMNS: dict[str, tuple[Any, Any]] = {
    "emitter_id": (pa.string(), ""),
    "sequence": (pa.uint64(), None),
    "org_id": (pa.string(), ""),
    "principal": (pa.string(), ""),
    "action": (pa.string(), ""),
    "outcome": (pa.string(), ""),
    "resource": (pa.string(), None),
    "owner_team_id": (pa.string(), None),
    "purpose": (pa.string(), None),
    "filter": (pa.string(), None),
    "item_count": (pa.uint64(), None),
    "request_id": (pa.string(), None),
    "remote_address": (pa.string(), None),
    "details": (pa.string(), None),
}


def audit_columns(events: Sequence[AuditEvent | None]) -> Columns:
    """Return the typed columns of audit events."""
    rows: list[Any] = [{} if event is None else event for event in events]
    return {
        "event_id": arrow.optional_uuids([row.get("event_id") for row in rows]),
        "occurred_at": pa.array([row.get("occurred_at") for row in rows], pa.int64()).cast(arrow.TIMESTAMP),
        **{
            name: pa.array([row.get(name, default) for row in rows], type_)
            for name, (type_, default) in _AUDIT_COLUMNS.items()
        },
    }
