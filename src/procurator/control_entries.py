"""Entries of the control log as they stand on the wire, and the rules that one of them must keep by itself. Pure.

The signer alone writes them (`procurator.signer`); sink and verifier read them.
"""

import re
from dataclasses import dataclass
from typing import Any, TypedDict

from procurator.avro_schemas.codec import Decoder
from procurator.events import NAMESPACE, TIME_US_MAX, RuleBroken
from procurator.leaf import LeafError, parse_log_id
from procurator.merkle import HASH_BYTES, SIZE_MAX

EPOCH = NAMESPACE + "Epoch"
PURGE = NAMESPACE + "Purge"
LEGAL_HOLD = NAMESPACE + "LegalHold"
ERASURE = NAMESPACE + "Erasure"
EXPORT_RECORDED = NAMESPACE + "ExportRecorded"
KEY_ROTATION = NAMESPACE + "KeyRotation"
WRITER_SCHEMA = NAMESPACE + "WriterSchema"

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch


@dataclass(frozen=True, slots=True)
class Head:
    """How far a log goes. ``next_offset`` is the offset after the last leaf's, 0 without leaves."""

    log_id: str
    topic: str
    size: int
    next_offset: int
    root: bytes


class ControlEntry(TypedDict):
    """One entry; the fields of ledger_control.avsc. ``payload`` is (full record name, record)."""

    event_id: str
    occurred_at: int
    ledger_id: str
    payload: tuple[str, dict[str, Any]]


def parse(decoder: Decoder, value: bytes | None) -> ControlEntry:
    """Return the entry in a record's value.

    Raises a Rejected when none can be made of these bytes, ever; Unavailable when the schema's source is away.
    """
    entry: ControlEntry = decoder.decode(value)  # type: ignore[assignment]
    for name in ("event_id", "ledger_id"):
        if not _UUID(entry[name]):
            raise RuleBroken(name, "is no UUID in lower case")
    if not 0 <= entry["occurred_at"] <= TIME_US_MAX:
        raise RuleBroken("occurred_at", f"{entry['occurred_at']} µs is not within 1970 and 2262")
    if entry["payload"][0] == EPOCH:
        _check_heads(heads_of(entry))
    return entry


def heads_of(entry: ControlEntry) -> list[Head]:
    """Return the heads in an epoch."""
    return [Head(**head) for head in entry["payload"][1]["heads"]]


def _check_heads(heads: list[Head]) -> None:
    ids = [head.log_id for head in heads]
    if ids != sorted(set(ids)):
        raise RuleBroken("heads", "are not one for each log, in the order of their ids")
    for head in heads:
        try:
            parse_log_id(head.log_id)
        except LeafError as error:
            raise RuleBroken("heads", str(error)) from None
        if not 0 <= head.size <= SIZE_MAX or len(head.root) != HASH_BYTES:
            raise RuleBroken("heads", f"{head.log_id}: a size or root that no tree has")
