"""IO: one session in the tables: its seal as a stranger would verify it, and its typed columns."""

from uuid import UUID

from procurator.avro_schemas.codec import UnknownSchema
from procurator.errors import Unavailable
from procurator.verify.bundle import verify_bundle
from procurator.verify.bundle_format import render
from procurator.verify.entries import EntryAudit
from procurator.verify.ledger import LedgerCheck
from procurator.verify.report import Report
from procurator.verify.seal import Sealer


def verify_session(check: LedgerCheck, session_id: UUID) -> Report:
    """Return what is wrong with a session. Raises UserError when it is not in the ledger."""
    sealer = Sealer(check.source)
    try:
        bundle = sealer.seal(session_id, check.notes)
    except Unavailable as error:
        report = Report()
        report.cannot_tell("no_proof", f"session {session_id}", str(error))
        return report
    report = verify_bundle(render(bundle), check.keys)
    if check.derive is None:
        return report
    _, checkpoint = sealer.newest(check.notes)
    _, heads = sealer.heads(checkpoint)
    schemas = sealer.schemas(checkpoint)

    def fetch(schema_id: int) -> str:
        if schema_id not in schemas:
            raise UnknownSchema(schema_id)
        return schemas[schema_id]

    derive = check.derive(fetch, {log_id: head.topic for log_id, head in heads.items()})
    signed = {log_id: head.size for log_id, head in heads.items()}
    columns = Report()
    audit = EntryAudit("events", derive, signed, {}, lambda _log, _index: f"size {checkpoint.size}", columns)
    audit.feed(check.source.session_rows(str(session_id)))
    for finding in columns.findings:
        report.tampered(finding.what, finding.where, finding.message, finding.since)
    return report
