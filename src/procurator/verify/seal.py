"""IO: a session's seal, made on demand from the tables: the bundle that `procurator.verify.bundle` verifies."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from procurator.access import Scope
from procurator.avro_schemas.codec import HEADER, Decoder, load_schema
from procurator.checkpoint import Checkpoint
from procurator.control_entries import EPOCH, ERASURE, WRITER_SCHEMA, Head, heads_of, parse
from procurator.errors import Rejected, Unavailable, UserError
from procurator.events import NAMESPACE
from procurator.ledger_name import control_log_of
from procurator.merkle import consistency_ranges, inclusion_ranges, multiproof_ranges
from procurator.verify.blocks import BlockCache
from procurator.verify.bundle_format import ENTRIES_MAX, Bundle, BundleEntry, BundleLog
from procurator.verify.control import ControlRow
from procurator.verify.source import LedgerSource
from procurator.verify.trust import claimed

#: Writer schemas of the whole ledger; one version of a schema is one.
SCHEMAS_MAX = 10_000

_EVERYWHERE = Scope.everywhere()


class Sealer:
    """Makes bundles and proofs under the newest checkpoint that the tables can prove. For several threads."""

    def __init__(self, source: LedgerSource) -> None:
        self._source = source
        self._blocks = BlockCache(source)
        self._kept: tuple[bytes, Checkpoint, dict[str, Head]] | None = None

    def newest(self, notes: Sequence[bytes]) -> tuple[bytes, Checkpoint]:
        """Return the last of ``notes`` (ascending) whose control entries the tables have all of.

        Raises Unavailable when there is none.
        """
        if notes:
            size = self._source.control_size(control_log_of(claimed(notes[-1]).origin))
            for note in reversed(notes):
                checkpoint = claimed(note)
                if checkpoint.size <= size:
                    return note, checkpoint
        raise Unavailable("nothing is signed yet that the tables hold: the signer or the sink is behind")

    def heads(self, checkpoint: Checkpoint) -> tuple[ControlRow, dict[str, Head]]:
        """Return the last epoch under a checkpoint, and its heads by log."""
        control = control_log_of(checkpoint.origin)
        rows = self._source.control_entries(control, EPOCH.removeprefix(NAMESPACE), checkpoint.size, 1)
        if not rows:
            raise Unavailable("the control log has no epoch yet")
        own = load_schema("ledger_control")
        decoder = Decoder(own, lambda _id: own.text)
        try:
            entry = parse(decoder, rows[0].value)
        except Rejected as error:
            raise Unavailable(f"the last epoch cannot be read: {error}") from error
        return rows[0], {head.log_id: head for head in heads_of(entry)}

    def seal(self, session_id: UUID, notes: Sequence[bytes], scope: Scope = _EVERYWHERE) -> Bundle:
        """Return the bundle of a session's entries in ``scope``, as far as they are signed.

        Raises UserError when there is no such session, Unavailable while none of its entries is signed.
        """
        table = self._source.session(str(session_id), ENTRIES_MAX, scope)
        if not table.num_rows:
            raise UserError(f"session {session_id} is not in the ledger")
        if table.num_rows > ENTRIES_MAX:
            raise UserError(f"session {session_id} has more than {ENTRIES_MAX} entries: a bundle holds no more")
        note, checkpoint = self.newest(notes)
        epoch, heads = self.heads(checkpoint)
        entries: dict[str, list[BundleEntry]] = {}
        for log_id, *fields in zip(*(column.to_pylist() for column in table.columns), strict=True):
            offset, leaf_index, time_us, key, value = fields
            head = heads.get(log_id.decode())
            if head is not None and leaf_index < head.size:
                entries.setdefault(head.log_id, []).append(BundleEntry(leaf_index, offset, time_us, key, value))
        self._refuse_erased(checkpoint, entries)
        if not entries:
            raise Unavailable(f"no entry of session {session_id} is signed yet: try again in ten seconds")
        logs = tuple(self._log("events", log_id, heads[log_id].size, entries[log_id]) for log_id in sorted(entries))
        schema_ids = {_schema_id(entry.value) for log in logs for entry in log.entries} | {_schema_id(epoch.value)}
        return Bundle(str(session_id), note, self._control(checkpoint, epoch, schema_ids), logs)

    def _refuse_erased(self, checkpoint: Checkpoint, entries: dict[str, list[BundleEntry]]) -> None:
        kind, own = ERASURE.removeprefix(NAMESPACE), load_schema("ledger_control")
        decoder = Decoder(own, lambda _id: own.text)
        rows = self._source.control_entries(control_log_of(checkpoint.origin), kind, checkpoint.size, SCHEMAS_MAX)
        for each in (each for row in rows for each in parse(decoder, row.value)["payload"][1]["ranges"]):
            erased = range(each["first_leaf"], each["first_leaf"] + each["leaf_count"])
            if any(entry.value is None and entry.leaf_index in erased for entry in entries.get(each["log_id"], ())):
                raise UserError("the session was erased: a bundle holds exact bytes, which are gone")

    def consistency(self, origin: str, size1: int, size2: int) -> list[bytes]:
        """Return the proof that the control log of ``size1`` leaves is a prefix of that of ``size2``."""
        ranges = consistency_ranges(size1, size2)
        return self._blocks.proof("ledger_control", control_log_of(origin), ranges, size2)

    def inclusion(
        self, table: str, log_id: str, leaf_index: int, notes: Sequence[bytes]
    ) -> tuple[bytes, Checkpoint, Head, list[bytes]]:
        """Return note, checkpoint, the log's head in its last epoch, and the inclusion proof of one leaf under it.

        Raises Unavailable while the leaf is not signed.
        """
        note, checkpoint, heads = self._signed(notes)
        head = heads.get(log_id)
        if head is None or leaf_index >= head.size:
            raise Unavailable(f"leaf {leaf_index} of log {log_id} is not signed yet: try again in ten seconds")
        ranges = inclusion_ranges(leaf_index, head.size)
        return note, checkpoint, head, self._blocks.proof(table, log_id, ranges, head.size)

    def _signed(self, notes: Sequence[bytes]) -> tuple[bytes, Checkpoint, dict[str, Head]]:
        """Return the newest note, its checkpoint and heads; kept as long as no newer note comes."""
        kept = self._kept
        if kept is None or not notes or kept[0] != notes[-1]:
            note, checkpoint = self.newest(notes)
            self._kept = kept = (note, checkpoint, self.heads(checkpoint)[1])
        return kept

    def schemas(self, checkpoint: Checkpoint) -> dict[int, str]:
        """Return the writer schemas that the control log has, by id."""
        return {payload["schema_id"]: payload["schema"] for _, payload in self._schema_rows(checkpoint)}

    def _schema_rows(self, checkpoint: Checkpoint) -> list[tuple[ControlRow, dict[str, Any]]]:
        own = load_schema("ledger_control")
        decoder = Decoder(own, lambda _id: own.text)
        log_id, kind = control_log_of(checkpoint.origin), WRITER_SCHEMA.removeprefix(NAMESPACE)
        rows = self._source.control_entries(log_id, kind, checkpoint.size, SCHEMAS_MAX)
        return [(row, parse(decoder, row.value)["payload"][1]) for row in rows]

    def _control(self, checkpoint: Checkpoint, epoch: ControlRow, schema_ids: set[int | None]) -> BundleLog:
        log_id = control_log_of(checkpoint.origin)
        schemas = (row for row, payload in self._schema_rows(checkpoint) if payload["schema_id"] in schema_ids)
        rows = [epoch, *schemas]
        entries = [BundleEntry(row.leaf_index, row.offset, row.broker_time_us, row.key, row.value) for row in rows]
        return self._log("ledger_control", log_id, checkpoint.size, entries)

    def _log(self, table: str, log_id: str, size: int, entries: list[BundleEntry]) -> BundleLog:
        entries = sorted(entries, key=lambda entry: entry.leaf_index)
        ranges = multiproof_ranges([entry.leaf_index for entry in entries], size)
        return BundleLog(log_id, size, tuple(entries), tuple(self._blocks.proof(table, log_id, ranges, size)))


def _schema_id(value: bytes | None) -> int | None:
    return int(HEADER.unpack_from(value)[1]) if value is not None and len(value) >= HEADER.size else None
