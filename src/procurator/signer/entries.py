"""Entries of the control log as the signer makes them: raw Avro records (``ledger_control.avsc``). Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from procurator.control_entries import ControlEntry, Head


def entry(event_id: str, occurred_at_us: int, ledger_id: str, kind: str, payload: Mapping[str, Any]) -> ControlEntry:
    """Return an entry; ``kind`` is the payload's full record name."""
    return {
        "event_id": event_id,
        "occurred_at": occurred_at_us,
        "ledger_id": ledger_id,
        "payload": (kind, dict(payload)),
    }


def epoch_payload(heads: Iterable[Head]) -> dict[str, Any]:
    """Return an epoch's payload: the heads in the order of their log ids."""
    return {"heads": [asdict(head) for head in sorted(heads, key=lambda head: head.log_id)]}
