"""IO: the whole ledger, from its tables: checkpoints, control log, trees, entries, columns.

First the control log against the checkpoints: every root, every signature, every rotation. Then, slice by slice:

1. each log's stored leaf hashes against the heads in the control log's epochs;
2. each entry's bytes against its leaf hash, each typed column against the bytes;
3. the leaves that step 2 saw against those of step 1 (`multiset`).

A slice ends at an epoch. Whoever keeps the position after it goes on from there, after an interruption or later.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from procurator.errors import UserError
from procurator.ledger_name import control_log_of
from procurator.note_keys import Verifier
from procurator.verify.control import ControlAudit
from procurator.verify.entries import Derive
from procurator.verify.positions import Position
from procurator.verify.ranges import RangeSpool
from procurator.verify.report import Report
from procurator.verify.source import LedgerSource
from procurator.verify.spool import HeadSpool
from procurator.verify.trust import TrustedKeys
from procurator.verify.walk import Walk

#: Entries of a slice, unless one epoch has more.
SLICE_ENTRIES = 2_000_000

#: (log id, sessions) → the sequence numbers that the log has of them before what is verified, by session and emitter.
Ask = Callable[[str, Sequence[str]], Mapping[str, Mapping[str, Iterable[int]]]]
#: (schemas' source, log id → topic, earlier numbers) → what derives the entries of a table.
MakeDerive = Callable[[Callable[[int], str], Mapping[str, str], Ask], Derive]
#: Hears of progress: a step's name, entries done, entries in all.
Progress = Callable[[str, int, int], None]


def _forget(_position: Position) -> None:
    pass


@dataclass(frozen=True)
class LedgerCheck:
    """What to check with what. ``tables``: topic → table, without the control topic's; no ``derive``: no columns.

    ``start``: where an earlier verification ended; ``keep`` hears of each position that all was sound up to.
    """

    source: LedgerSource
    origin: str
    notes: Sequence[bytes]
    keys: Iterable[Verifier]
    tables: Mapping[str, str]
    derive: MakeDerive | None
    progress: Progress
    start: Position | None = None
    keep: Callable[[Position], None] = _forget
    slice_entries: int = SLICE_ENTRIES


def verify_ledger(check: LedgerCheck) -> Report:
    """Return everything found. Raises what the source raises when the server is away."""
    report = Report()
    if check.start and check.start.origin != check.origin:
        raise UserError(f"the verification to go on from is of {check.start.origin}, not of {check.origin}")
    with HeadSpool() as spool, RangeSpool() as ranges:
        control = _control(check, spool, ranges, report)
        walk = Walk(check, control, spool, report)
        walk.strangers()
        for position in walk.slices():
            if not report.findings:
                check.keep(position)
        walk.finish()
        for log_id, first, end in check.source.gaps():
            report.incomplete("offsets_lost", f"log {log_id} offsets {first} to {end - 1}", end - first)
        for session_id, emitter_id, count in check.source.missing_sequences():
            if not ranges.has_purged(session_id):
                where = f"session {session_id} emitter {emitter_id}"
                report.incomplete("sequence_numbers_missing", where, count)
    return report


def _control(check: LedgerCheck, spool: HeadSpool, ranges: RangeSpool, report: Report) -> ControlAudit:
    log_id = control_log_of(check.origin)
    notes = [*check.notes, *([check.start.checkpoint] if check.start and check.start.checkpoint else [])]
    audit = ControlAudit(log_id, check.origin, notes, TrustedKeys(check.keys), report, spool.add, ranges)
    for count, row in enumerate(check.source.control_rows(log_id)):
        audit.feed(row)
        if count % 1000 == 0:
            check.progress("control log", count, 0)
    audit.finish()
    return audit
