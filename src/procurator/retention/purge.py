"""IO: one purge up to its signature: export, look at the export on disk, prove the leaves, ask the signer.

Crash order: the export is written under another name and renamed when it is whole; then the signer is asked, while
nobody else may ask. Dying before that leaves an export without a purge, which `undo_unsigned` removes; dying later
leaves a signed purge, which `procurator.retention.removal` carries out.
"""

import logging
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any
from uuid import UUID

from procurator.clickhouse import ClickHouse
from procurator.control_desk import ControlDesk
from procurator.control_entries import LEGAL_HOLD, PURGE
from procurator.errors import Fatal
from procurator.merkle import ProofError, verify_multiproof
from procurator.note_keys import Verifier
from procurator.retention.archive import Archive, archives, verify_archive
from procurator.retention.holds import SessionFacts, held_by, in_force
from procurator.retention.leaves import Leaf, ranges_of, retained_hashes
from procurator.retention.sessions import leaves_of
from procurator.retention.totals import spend_totals
from procurator.verify.bundle_format import render
from procurator.verify.report import Verdict
from procurator.verify.seal import Sealer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Purge:
    """What a purge is asked for with. ``exports``: the folder of exports, None with --no-export."""

    requested_by: str
    reason: str
    exports: Path | None


class Purger:
    """Signs purges of batches of sessions."""

    def __init__(
        self,
        clickhouse: ClickHouse,
        desk: ControlDesk,
        sealer: Sealer,
        notes: Sequence[bytes],
        keys: Iterable[Verifier],
        purge: Purge,
    ) -> None:
        self._clickhouse = clickhouse
        self._desk = desk
        self._sealer = sealer
        self._notes = notes
        self._keys = list(keys)
        self._purge = purge

    def sign(self, batch: Sequence[SessionFacts]) -> int:
        """Export and sign the purge of a batch; return how many sessions it has.

        0 when they cannot go now: their entries are not all signed and settled, or a hold came meanwhile.
        """
        leaves = self._settled(leaves_of(self._clickhouse, [session.session_id for session in batch]))
        if not leaves:
            return 0
        sessions = sorted({leaf.session_id for leaf in leaves})
        self._prove(leaves)
        archive = Archive(self._purge.exports, str(uuid.uuid4())) if self._purge.exports else None
        digest = self._export(archive, leaves) if archive else None
        purge_id = archive.purge_id if archive else str(uuid.uuid4())
        with self._desk.alone():
            holds = in_force(self._desk.bodies(LEGAL_HOLD)).values()
            chosen = {session.session_id: session for session in batch}
            if any(held_by(holds, chosen[session_id]) for session_id in sessions):
                log.warning("a legal hold came while purge %s was exported: it is undone", purge_id)
                if archive:
                    archive.remove()
                return 0
            self._desk.record(PURGE, [self._payload(purge_id, sessions, leaves, digest)])
        return len(sessions)

    def _payload(
        self, purge_id: str, sessions: Sequence[str], leaves: Sequence[Leaf], digest: bytes | None
    ) -> dict[str, Any]:
        ranges = ranges_of((leaf.log_id, leaf.leaf_index) for leaf in leaves)
        hashes = {(leaf.log_id, leaf.leaf_index): leaf.leaf_hash for leaf in leaves}
        return {
            "purge_id": purge_id,
            "ranges": ranges,
            "retained_hashes": retained_hashes(ranges, hashes),
            "session_ids": list(sessions),
            "export_sha256": digest,
            "totals": spend_totals(self._clickhouse, sessions, len(leaves)),
            "requested_by": self._purge.requested_by,
            "reason": self._purge.reason,
        }

    def _settled(self, leaves: Sequence[Leaf]) -> list[Leaf]:
        """Return the leaves of sessions of which every leaf is signed, and which the sink will never read again."""
        heads = self._sealer.signed(self._notes)[2]
        settled = dict(self._clickhouse.rows("SELECT log_id, max(size) FROM ledger_heads GROUP BY log_id"))
        waiting = {
            leaf.session_id
            for leaf in leaves
            if leaf.log_id not in heads or leaf.leaf_index >= min(heads[leaf.log_id].size, settled.get(leaf.log_id, 0))
        }
        if waiting:
            log.info("%d sessions have entries that are not signed yet: they stay until the next run", len(waiting))
        return [leaf for leaf in leaves if leaf.session_id not in waiting]

    def _prove(self, leaves: Sequence[Leaf]) -> None:
        """Prove the leaf hashes that will stand for the entries. Raises Fatal when one is not what was signed."""
        heads = self._sealer.signed(self._notes)[2]
        for log_id, of_log in groupby(leaves, key=lambda leaf: leaf.log_id):
            some, head = list(of_log), heads[log_id]
            indexes = [leaf.leaf_index for leaf in some]
            proof = self._sealer.multiproof(log_id, indexes, head.size)
            try:
                verify_multiproof([leaf.leaf_hash for leaf in some], indexes, head.size, proof, head.root)
            except ProofError as error:
                raise Fatal(f"log {log_id}: the leaves to be purged are not what was signed: {error}") from None

    def _export(self, archive: Archive, leaves: Sequence[Leaf]) -> bytes:
        """Write the export and verify it from disk; return its manifest's digest. Raises Fatal when it is not sound."""
        by_session: dict[str, list[Leaf]] = {}
        for leaf in leaves:
            by_session.setdefault(leaf.session_id, []).append(leaf)
        ledger = self._sealer.signed(self._notes)[1].origin
        digest = archive.write(ledger, (self._bundled(each, some) for each, some in sorted(by_session.items())))
        expected = {
            session_id: {(leaf.log_id, leaf.leaf_index) for leaf in some if not leaf.erased}
            for session_id, some in by_session.items()
        }
        report = verify_archive(archive.path, self._keys, digest, expected)
        if report.verdict is not Verdict.SOUND:
            finding = report.findings[0]
            raise Fatal(f"the export in {archive.path} does not verify: {finding.where}: {finding.message}")
        return digest

    def _bundled(self, session_id: str, leaves: Sequence[Leaf]) -> tuple[str, bytes, int, int]:
        erased = sum(leaf.erased for leaf in leaves)
        data = b""
        if erased < len(leaves):
            data = render(self._sealer.seal(UUID(session_id), self._notes, leave_out_erased=True))
        return session_id, data, len(leaves), erased


def undo_unsigned(desk: ControlDesk, exports: Path) -> int:
    """Remove exports whose purge was never signed: their sessions are still in the ledger. Return how many.

    Hold the desk `alone`, so that none is about to be signed.
    """
    signed = {body["purge_id"] for body in desk.bodies(PURGE)}
    undone = [each for each in archives(exports) if each.purge_id not in signed]
    for archive in undone:
        archive.remove()
    return len(undone)
