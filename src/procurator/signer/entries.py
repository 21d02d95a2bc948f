"""Entries of the control log as raw Avro records (``ledger_control.avsc``). Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from procurator.events import NAMESPACE
from procurator.signer.trees import Head

EPOCH = NAMESPACE + "Epoch"
PURGE = NAMESPACE + "Purge"
LEGAL_HOLD = NAMESPACE + "LegalHold"
ERASURE = NAMESPACE + "Erasure"
EXPORT_RECORDED = NAMESPACE + "ExportRecorded"
KEY_ROTATION = NAMESPACE + "KeyRotation"
WRITER_SCHEMA = NAMESPACE + "WriterSchema"

Entry = dict[str, Any]


def entry(event_id: str, occurred_at_us: int, ledger_id: str, kind: str, payload: Mapping[str, Any]) -> Entry:
    """Return an entry; ``kind`` is the payload's full record name."""
    return {
        "event_id": event_id,
        "occurred_at": occurred_at_us,
        "ledger_id": ledger_id,
        "payload": (kind, dict(payload)),
    }


def epoch_payload(heads: Iterable[Head]) -> dict[str, Any]:
    """Return an epoch's payload: the heads in the order of their log ids."""
    ordered = sorted(heads, key=lambda head: head.log_id)
    return {
        "heads": [
            {"log_id": head.log_id, "size": head.size, "next_offset": head.next_offset, "root": head.root}
            for head in ordered
        ]
    }


def heads_of(record: Mapping[str, Any]) -> list[Head]:
    """Return the heads in a decoded epoch entry."""
    return [
        Head(head["log_id"], head["size"], head["next_offset"], head["root"]) for head in record["payload"][1]["heads"]
    ]


def kind_of(record: Mapping[str, Any]) -> str:
    """Return the full record name of a decoded entry's payload."""
    return str(record["payload"][0])
