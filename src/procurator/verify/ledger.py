"""IO: the whole ledger, from its tables: checkpoints, control log, trees, entries, columns.

Four steps, each of which stands on the one before:

1. the control log against the checkpoints: every root, every signature, every rotation;
2. each log's stored leaf hashes against the heads in the control log's epochs;
3. each entry's bytes against its leaf hash, each typed column against the bytes;
4. the leaves that step 3 saw against those of step 2 (`multiset`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from procurator.avro_schemas.codec import UnknownSchema
from procurator.ledger_name import control_log_of
from procurator.note_keys import Verifier
from procurator.verify.completeness import Sequences
from procurator.verify.control import ControlAudit
from procurator.verify.entries import Derive, EntryAudit
from procurator.verify.logs import LogAudit, SignedHead
from procurator.verify.multiset import LeafSet
from procurator.verify.report import Report
from procurator.verify.source import LedgerSource
from procurator.verify.spool import HeadSpool
from procurator.verify.trust import TrustedKeys

#: (schemas' source, log id → topic) → what derives the entries of a table; none: columns are not compared.
MakeDerive = Callable[[Callable[[int], str], Mapping[str, str]], Derive]
#: Hears of progress: a step's name, entries done, entries in all.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class LedgerCheck:
    """What to check with what. ``tables``: topic → table, without the control topic's."""

    source: LedgerSource
    origin: str
    notes: Sequence[bytes]
    keys: Iterable[Verifier]
    tables: Mapping[str, str]
    derive: MakeDerive | None
    progress: Progress


def verify_ledger(check: LedgerCheck) -> Report:
    """Return everything found. Raises what the source raises when the server is away."""
    report = Report()
    with HeadSpool() as spool:
        control = _control(check, spool, report)
        topics = {head.log_id: head.topic for head in control.heads.values()}
        seen: dict[str, LeafSet] = {}
        for log_id in sorted(topics):
            if table := check.tables.get(topics[log_id]):
                seen[log_id] = _log(check, control, spool, log_id, table, report)
            else:
                report.cannot_tell("unknown_topic", f"log {log_id}", f"topic {topics[log_id]} has no table here")
        _strangers(check, topics, report)
        for table in sorted(set(check.tables.values())):
            _entries(check, control, spool, table, topics, seen, report)
        for log_id, first, end in check.source.gaps():
            report.incomplete("offsets_lost", f"log {log_id} offsets {first} to {end - 1}", end - first)
    return report


def _control(check: LedgerCheck, spool: HeadSpool, report: Report) -> ControlAudit:
    log_id = control_log_of(check.origin)
    audit = ControlAudit(log_id, check.origin, check.notes, TrustedKeys(check.keys), report, spool.add)
    for count, row in enumerate(check.source.control_rows(log_id)):
        audit.feed(row)
        if count % 1000 == 0:
            check.progress("control log", count, 0)
    audit.finish()
    return audit


def _since(control: ControlAudit, control_index: int) -> str:
    size = control.before(control_index)
    return f"after the checkpoint of size {size}" if size else "before any checkpoint"


def _log(
    check: LedgerCheck,
    control: ControlAudit,
    spool: HeadSpool,
    log_id: str,
    table: str,
    report: Report,
    from_rows: bool = False,
) -> LeafSet:
    # Heads that no checkpoint covers are not signed yet: what they say binds nobody.
    heads = [head for head in spool.heads(log_id) if head.control_index < control.signed_size]
    signed = heads[-1].size if heads else 0
    named = (SignedHead(head.size, head.root, _since(control, head.control_index)) for head in heads)
    audit = LogAudit(f"{table} log {log_id}", named, control.purged.get(log_id, ()), signed, report)
    for leaves in check.source.leaves(table, log_id, from_rows=from_rows):
        audit.feed(*leaves)
        check.progress(f"tree of {log_id}", audit.present, signed)
    audit.finish()
    return audit.leaves


def _strangers(check: LedgerCheck, topics: Mapping[str, str], report: Report) -> None:
    for table in sorted(set(check.tables.values())):
        for log_id, count in check.source.log_ids(table).items():
            topic = topics.get(log_id)
            if topic is None:
                report.counts["entries_of_unsigned_logs"] += count
                report.cannot_tell("unsigned_log", f"{table} log {log_id}", f"{count} entries of a log never signed")
            elif check.tables.get(topic) != table:
                message = f"{count} entries of a log of topic {topic}"
                report.tampered("transplanted", f"{table} log {log_id}", message)


def _entries(
    check: LedgerCheck,
    control: ControlAudit,
    spool: HeadSpool,
    table: str,
    topics: Mapping[str, str],
    seen: Mapping[str, LeafSet],
    report: Report,
) -> None:
    signed = {log_id: _signed_size(control, spool, log_id) for log_id in seen if check.tables[topics[log_id]] == table}

    def since(log_id: str, index: int) -> str:
        head = spool.covering(log_id, index)
        return _since(control, head.control_index) if head else ""

    def schema(schema_id: int) -> str:
        try:
            return control.schemas[schema_id]
        except KeyError:
            raise UnknownSchema(schema_id) from None

    derive: Derive = check.derive(schema, topics) if check.derive else _nothing
    audit = EntryAudit(table, derive, signed, control.erased, since, report)
    sequences = Sequences(report)
    done, total = 0, sum(signed.values())
    for page, _ in check.source.entries(table):
        sequences.feed(audit.feed(page))
        done += page.num_rows
        check.progress(f"entries of {table}", done, total)
    sequences.finish()
    for log_id in signed:
        if audit.leaves.get(log_id, LeafSet()).total != seen[log_id].total:
            message = "the table's rows are not those that its projection shows"
            report.tampered("entries_differ", f"{table} log {log_id}", message)
            rows = Report()
            _log(check, control, spool, log_id, table, rows, from_rows=True)
            for finding in rows.findings:
                report.tampered(finding.what, finding.where, finding.message, finding.since)


def _signed_size(control: ControlAudit, spool: HeadSpool, log_id: str) -> int:
    sizes = [head.size for head in spool.heads(log_id) if head.control_index < control.signed_size]
    return sizes[-1] if sizes else 0


def _nothing(log_id: str, offsets: Any, broker_times_us: Any, keys: Any, values: Any) -> dict[str, Any]:
    return {}
