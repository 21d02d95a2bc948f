"""IO: one session in the tables: its seal as a stranger would verify it, and its typed columns."""

from uuid import UUID

from procurator.errors import Unavailable, UserError
from procurator.verify.bundle import verify_bundle
from procurator.verify.bundle_format import render
from procurator.verify.entries import Derivation, EntryAudit
from procurator.verify.late_schemas import LateSchemas, no_schema
from procurator.verify.ledger import LedgerCheck
from procurator.verify.ranges import RangeSpool
from procurator.verify.report import Report
from procurator.verify.seal import Sealer, SessionErased


def verify_session(check: LedgerCheck, session_id: UUID) -> Report:
    """Return what is wrong with a session: purged, erased and missing are different answers."""
    sealer = Sealer(check.source)
    where, report = f"session {session_id}", Report()
    try:
        _, checkpoint, heads = sealer.signed(check.notes)
        if purge_id := sealer.facts.purged.get(str(session_id)):
            message = f"purge {purge_id} has removed its entries; the purge's export has them, unless there was none"
            report.cannot_tell("purged", where, message)
            return report
        bundle = sealer.seal(session_id, check.notes)
    except Unavailable as error:
        report.cannot_tell("no_proof", where, str(error))
        return report
    except SessionErased as error:
        report.cannot_tell("erased", where, str(error))
        return report
    except UserError as error:
        report.cannot_tell("missing", where, str(error))
        return report
    report = verify_bundle(render(bundle), check.keys)
    if check.derive is None:
        return report

    schemas = LateSchemas({schema_id: recorded for schema_id, (_, recorded) in sealer.facts.schemas.items()})
    topics = {log_id: head.topic for log_id, head in heads.items()}
    derive, blind = (check.derive(fetch, topics, lambda _log, _ids: {}) for fetch in (schemas.fetch, no_schema))
    bounds = {log_id: (0, head.size) for log_id, head in heads.items()}
    columns = Report()
    with RangeSpool() as ranges:  # without erasures: an erased session has no seal
        since = f"size {checkpoint.size}"
        audit = EntryAudit(
            "events", Derivation(derive, blind, schemas), bounds, ranges, lambda _log, _index: since, columns
        )
        audit.feed(check.source.session_rows(str(session_id)))
    for finding in columns.findings:
        report.add(finding)
    return report
