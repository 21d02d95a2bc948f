"""Entries of the control log in plain words. Pure."""

from dataclasses import dataclass

from procurator import control_entries as kinds
from procurator.clock import to_rfc3339
from procurator.control_entries import ControlEntry


@dataclass(frozen=True)
class Said:
    """What was done to the ledger, when, by whom and why."""

    kind: str
    at: str
    what: str
    by: str
    why: str


def said(entry: ControlEntry) -> Said:
    """Return an entry as people read it."""
    kind, payload = entry["payload"]
    at = to_rfc3339(entry["occurred_at"])
    leaves = sum(each["leaf_count"] for each in payload.get("ranges", ()))
    by, why = payload.get("requested_by", ""), payload.get("reason", "")
    match kind:
        case kinds.PURGE:
            return Said("Purge", at, f"{leaves:,} entries removed; their subtree hashes stay", by, why)
        case kinds.LEGAL_HOLD:
            sessions = f"{len(payload['session_ids']):,} sessions"
            return Said("Hold", at, f"{'released' if payload['released'] else 'holds'} {sessions}", by, why)
        case kinds.ERASURE:
            return Said("Erasure", at, f"{leaves:,} entries lost their text; their leaf hashes stay", by, why)
        case kinds.EXPORT_RECORDED:
            return Said("Export", at, f"{payload['sessions']:,} sessions, {payload['entries']:,} entries", by, why)
        case kinds.KEY_ROTATION:
            what = "the old key is revoked" if payload["revoked"] else "another key signs"
            return Said("Key", at, what, by, why)
    return Said(kind.rpartition(".")[2], at, "", by, why)
