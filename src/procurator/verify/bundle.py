"""Whether a bundle is what was signed: offline, from public keys alone. Pure."""

from collections.abc import Iterable

from procurator import control_entries, events
from procurator.avro_schemas.codec import Decoder, UnknownSchema, load_schema
from procurator.checkpoint import Checkpoint, CheckpointError
from procurator.control_entries import EPOCH, WRITER_SCHEMA, Head
from procurator.errors import ProcuratorError, Rejected
from procurator.leaf import LeafError
from procurator.ledger_name import control_log_of
from procurator.merkle import ProofError, verify_multiproof
from procurator.note_keys import UnknownSigner, Verifier
from procurator.sequences import Runs, missing, observe
from procurator.topics import SESSION_EVENTS
from procurator.verify.bundle_format import Bundle, BundleError, BundleLog, parse
from procurator.verify.report import Report
from procurator.verify.trust import TrustedKeys, claimed


def verify_bundle(data: bytes, keys: Iterable[Verifier]) -> Report:
    """Return everything found in a bundle's file: a malformed one is no proof of anything, so it cannot be judged."""
    report = Report()
    try:
        bundle = parse(data)
    except BundleError as error:
        report.cannot_tell("malformed", "bundle", str(error))
        return report
    try:
        checkpoint = _open(bundle, keys, report)
        if checkpoint is not None:
            _judge(bundle, checkpoint, report)
    except BundleError as error:
        report.tampered("malformed", "bundle", str(error))
    return report


def _open(bundle: Bundle, keys: Iterable[Verifier], report: Report) -> Checkpoint | None:
    try:
        origin = claimed(bundle.checkpoint).origin
        if control_log_of(origin) != bundle.control.log_id:
            report.tampered("another_ledger", "checkpoint", f"is of {origin}, the control entries are of another log")
            return None
        checkpoint = TrustedKeys(keys).open(bundle.checkpoint, origin)
    except UnknownSigner as error:
        report.cannot_tell("unknown_key", "checkpoint", str(error))
        return None
    except (CheckpointError, LeafError) as error:
        report.tampered("checkpoint_signature", "checkpoint", str(error))
        return None
    report.anchor = f"{checkpoint.origin} size {checkpoint.size}"
    return checkpoint


def _judge(bundle: Bundle, checkpoint: Checkpoint, report: Report) -> None:
    if bundle.control.size != checkpoint.size:
        message = f"is over {bundle.control.size} entries, the checkpoint over {checkpoint.size}"
        report.tampered("proof", "control", message)
        return
    if not _proves("control", bundle.control, checkpoint.root, report):
        return
    heads, schemas = _control(bundle, report)
    for log in bundle.logs:
        head = heads.get(log.log_id)
        if head is None or head.size != log.size or head.topic != SESSION_EVENTS.name:
            message = "the signed epoch has no such head of a log of session events"
            report.tampered("unsigned_head", f"log {log.log_id}", message)
        elif _proves(f"log {log.log_id}", log, head.root, report):
            report.counts["entries"] += len(log.entries)
    _events(bundle, schemas, report)


def _proves(where: str, log: BundleLog, root: bytes, report: Report) -> bool:
    try:
        verify_multiproof(log.leaf_hashes(), log.indexes, log.size, list(log.proof), root)
    except ProofError as error:
        message = f"its {len(log.entries)} entries are not what was signed: {error}"
        report.tampered("proof", where, message)
        return False
    return True


def signed_schemas(bundle: Bundle, report: Report) -> dict[int, str]:
    """Return the writer schemas by id that the bundle's control entries name."""
    return _control(bundle, report)[1]


def _control(bundle: Bundle, report: Report) -> tuple[dict[str, Head], dict[int, str]]:
    """Return the heads of the bundle's epoch and the writer schemas, both under the checkpoint."""
    schemas: dict[int, str] = {}
    heads: dict[str, Head] = {}
    own = load_schema("ledger_control")
    decoder = Decoder(own, lambda schema_id: schemas.get(schema_id, own.text))
    for entry in bundle.control.entries:
        where = f"control leaf {entry.leaf_index}"
        try:
            record = control_entries.parse(decoder, entry.value)
        except ProcuratorError as error:
            report.tampered("control_entry_unreadable", where, str(error))
            continue
        kind, payload = record["payload"]
        if kind == WRITER_SCHEMA:
            schemas[payload["schema_id"]] = payload["schema"]
        elif kind == EPOCH:
            heads = {head.log_id: head for head in control_entries.heads_of(record)}
    return heads, schemas


def _events(bundle: Bundle, schemas: dict[int, str], report: Report) -> None:
    """Read the events: each must be of this session; what is missing of it is completeness, not integrity."""
    runs: dict[str, Runs] = {}
    ended = False

    def fetch(schema_id: int) -> str:
        if schema_id not in schemas:
            raise UnknownSchema(schema_id)
        return schemas[schema_id]

    decoder = Decoder(load_schema(SESSION_EVENTS.schema), fetch)
    dropped = 0
    for log in bundle.logs:
        for entry in log.entries:
            where = f"log {log.log_id} leaf {entry.leaf_index}"
            try:
                event = events.parse(decoder, entry.value)
            except Rejected as error:
                report.cannot_tell("unreadable", where, str(error))
                continue
            if event["session_id"] != bundle.session_id:
                report.tampered("transplanted", where, f"is an event of session {event['session_id']}")
                continue
            observe(runs.setdefault(event["emitter_id"], []), event["sequence"])
            kind, payload = event["payload"]
            ended |= kind == events.SESSION_ENDED
            dropped += payload["events_dropped"] if kind == events.GAP else 0
            report.counts[kind.removeprefix(events.NAMESPACE)] += 1
    for emitter, seen in sorted(runs.items()):
        if count := missing(seen):
            report.incomplete("sequence_numbers_missing", f"emitter {emitter}", count)
    if report.counts["sequence_numbers_missing"] > dropped:
        message = "sequence numbers are missing: never recorded, or left out of this file; ask the ledger for its seal"
        report.cannot_tell("incomplete", f"session {bundle.session_id}", message)
    if not ended:
        report.incomplete("no_end", f"session {bundle.session_id}", 1)
