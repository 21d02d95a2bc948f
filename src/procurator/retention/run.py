"""IO: a retention run from beginning to end.

1. Finish what an earlier run left: carry out signed purges, remove exports that were never signed.
2. Verify the ledger: nothing goes from one that is not sound, since a purge would hide why.
3. Batch by batch: export, verify the export, have the purge signed.
4. Carry the purges out, and verify the ledger again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from procurator.clickhouse import ClickHouse
from procurator.control_desk import ControlDesk
from procurator.control_entries import LEGAL_HOLD
from procurator.errors import Fatal
from procurator.note_keys import Verifier
from procurator.retention.due import Due
from procurator.retention.holds import in_force
from procurator.retention.policy import RetentionPolicy
from procurator.retention.purge import Purge, Purger, undo_unsigned
from procurator.retention.removal import Removal
from procurator.verify.report import Report, Verdict
from procurator.verify.seal import Sealer
from procurator.verify.source import LedgerSource

#: Purges that are signed before their rows go: each deletion rewrites every day that it touches.
BATCHES_PER_ROUND = 10


@dataclass(frozen=True)
class Parts:
    """What a run works with. ``notes`` reads the checkpoints on file, ``verify`` verifies the whole ledger."""

    clickhouse: ClickHouse
    desk: ControlDesk
    removal: Removal
    keys: Sequence[Verifier]
    notes: Callable[[], list[bytes]]
    verify: Callable[[], Report]


@dataclass(frozen=True)
class Done:
    """What a run did. ``resumed``: purges of an earlier run that this one carried out; ``undone``: exports."""

    sessions: int
    purges: int
    resumed: int
    undone: int


def run(parts: Parts, policy: RetentionPolicy, purge: Purge, now_us: int) -> Done:
    """Remove what is due at ``now_us``. Raises Fatal when the ledger is not sound, before anything goes or after."""
    with parts.desk.alone():  # what an earlier run had asked for is signed now
        resumed = len(parts.removal.pending())
        undone = undo_unsigned(parts.desk, purge.exports) if purge.exports else 0
    parts.removal.carry_out()
    parts.removal.sweep()
    batches = Due(parts.clickhouse, policy, now_us).batches(in_force(parts.desk.bodies(LEGAL_HOLD)).values())
    first = next(batches, [])
    if first or resumed:
        _require_sound(parts.verify(), "nothing more was purged")
    going, signed = chain([first] if first else [], batches), list[int]()
    sealer = Sealer(LedgerSource(parts.clickhouse))
    while round_ := list(islice(going, BATCHES_PER_ROUND)):
        purger = Purger(parts.clickhouse, parts.desk, sealer, parts.notes(), parts.keys, purge)
        signed += [count for batch in round_ if (count := purger.sign(batch))]
        parts.removal.carry_out()
    if signed:
        _require_sound(parts.verify(), "after the purge")
    return Done(sum(signed), len(signed), resumed, undone)


def _require_sound(report: Report, when: str) -> None:
    if report.verdict is not Verdict.SOUND:
        finding = report.findings[0]
        raise Fatal(f"the ledger is not sound ({when}): {finding.what}: {finding.where}: {finding.message}")
