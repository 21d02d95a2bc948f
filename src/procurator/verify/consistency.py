"""Whether one checkpoint continues another. Pure, but for whoever brings the proof."""

from collections.abc import Callable, Iterable

from procurator.checkpoint import Checkpoint, CheckpointError
from procurator.errors import Unavailable
from procurator.merkle import ProofError, verify_consistency
from procurator.note_keys import UnknownSigner, Verifier
from procurator.verify.report import Report
from procurator.verify.trust import TrustedKeys, claimed

#: (origin, size1, size2) → the consistency proof; raises Unavailable when it cannot be had.
BringProof = Callable[[str, int, int], list[bytes]]


def verify_two(old: bytes, new: bytes, keys: Iterable[Verifier], bring: BringProof) -> Report:
    """Return what is wrong between two notes: signatures, ledger, history."""
    report = Report()
    keys = list(keys)
    first, second = _open("old", old, keys, report), _open("new", new, keys, report)
    if first is None or second is None:
        return report
    report.anchor = f"{first.origin} sizes {first.size} and {second.size}"
    if first.origin != second.origin:
        report.tampered("another_ledger", "new", f"is of {second.origin}, the old one of {first.origin}")
    elif first.size > second.size:
        message = f"has {second.size} entries, the old {first.size}: the ledger was rolled back, or they are swapped"
        report.tampered("rolled_back", "new", message)
    elif first.size == 0:
        report.cannot_tell("empty", "old", "every ledger continues an empty one: this proves nothing")
    else:
        _prove(first, second, bring, report)
    return report


def _prove(first: Checkpoint, second: Checkpoint, bring: BringProof, report: Report) -> None:
    if first.size == second.size:
        if first.root != second.root:
            report.tampered("split_view", "new", f"two roots were signed for {first.size} entries")
        return
    try:
        proof = bring(first.origin, first.size, second.size)
    except Unavailable as error:
        report.cannot_tell("no_proof", f"sizes {first.size} to {second.size}", str(error))
        return
    try:
        verify_consistency(first.size, second.size, proof, first.root, second.root)
    except ProofError as error:
        message = f"the ledger of {second.size} entries does not continue the one of {first.size}: {error}"
        report.tampered("rewritten", f"control log below leaf {first.size}", message, f"size {first.size}")


def _open(which: str, note: bytes, keys: list[Verifier], report: Report) -> Checkpoint | None:
    try:
        return TrustedKeys(keys).open(note, claimed(note).origin)
    except UnknownSigner as error:
        report.cannot_tell("unknown_key", which, str(error))
    except CheckpointError as error:
        report.tampered("checkpoint_signature", which, str(error))
    return None
