"""IO: a session's seal, made on demand from the tables: the bundle that `procurator.verify.bundle` verifies."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from procurator.access import Scope
from procurator.avro_schemas.codec import HEADER, Decoder, load_schema
from procurator.checkpoint import Checkpoint
from procurator.control_entries import EPOCH, Head, heads_of, parse
from procurator.errors import Rejected, Unavailable, UserError
from procurator.events import NAMESPACE
from procurator.ledger_name import control_log_of
from procurator.merkle import consistency_ranges, inclusion_ranges, multiproof_ranges
from procurator.verify.blocks import BlockCache
from procurator.verify.bundle_format import ENTRIES_MAX, Bundle, BundleEntry, BundleLog
from procurator.verify.control import ControlRow
from procurator.verify.control_facts import ControlFacts
from procurator.verify.source import LedgerSource
from procurator.verify.trust import claimed

_EVERYWHERE = Scope.everywhere()


class SessionErased(UserError):
    """The session's bytes were erased, so that no bundle can be made of it."""


class Standing(NamedTuple):
    """The newest checkpoint that the tables can prove, the last epoch under it, and that epoch's heads by log."""

    note: bytes
    checkpoint: Checkpoint
    heads: dict[str, Head]
    epoch: ControlRow


class Sealer:
    """Makes bundles and proofs under the newest checkpoint that the tables can prove. For several threads."""

    def __init__(self, source: LedgerSource) -> None:
        self._source = source
        self.facts = ControlFacts(source)
        self._blocks = BlockCache(source, self.facts.retained)
        self._kept: Standing | None = None

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

    def standing(self, notes: Sequence[bytes]) -> Standing:
        """Return what the `newest` of these notes signs; kept as long as no newer note comes."""
        kept = self._kept
        if kept is None or not notes or kept.note != notes[-1]:
            note, checkpoint = self.newest(notes)
            if kept is None or kept.note != note:
                self.facts.read_to(control_log_of(checkpoint.origin), checkpoint.size)
                self._kept = kept = Standing(note, checkpoint, *self._heads(checkpoint))
        return kept

    def signed(self, notes: Sequence[bytes]) -> tuple[bytes, Checkpoint, dict[str, Head]]:
        """Return the newest note, its checkpoint and heads."""
        note, checkpoint, heads, _ = self.standing(notes)
        return note, checkpoint, heads

    def _heads(self, checkpoint: Checkpoint) -> tuple[dict[str, Head], ControlRow]:
        """Return the heads of the last epoch under a checkpoint, by log, and the epoch."""
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
        return {head.log_id: head for head in heads_of(entry)}, rows[0]

    def seal(
        self, session_id: UUID, notes: Sequence[bytes], scope: Scope = _EVERYWHERE, leave_out_erased: bool = False
    ) -> Bundle:
        """Return the bundle of a session's entries in ``scope``, as far as they are signed.

        Raises UserError when there is no such session or it was erased, Unavailable while none of it is signed.
        ``leave_out_erased``: bundle the entries that still have bytes.
        """
        table = self._source.session(str(session_id), ENTRIES_MAX, scope)
        if not table.num_rows:
            raise UserError(f"session {session_id} is not in the ledger")
        if table.num_rows > ENTRIES_MAX:
            raise UserError(f"session {session_id} has more than {ENTRIES_MAX} entries: a bundle holds no more")
        standing = self.standing(notes)
        heads = standing.heads
        entries: dict[str, list[BundleEntry]] = {}
        for log_id, *fields in zip(*(column.to_pylist() for column in table.columns), strict=True):
            offset, leaf_index, time_us, key, value = fields
            head = heads.get(log_id.decode())
            if head is None or leaf_index >= head.size:
                continue
            if value is None and leaf_index in self.facts.erased.get(head.log_id, ()):
                if leave_out_erased:
                    continue
                raise SessionErased("the session was erased: a bundle holds exact bytes, which are gone")
            entries.setdefault(head.log_id, []).append(BundleEntry(leaf_index, offset, time_us, key, value))
        if not entries:
            raise Unavailable(f"no entry of session {session_id} is signed yet: try again in ten seconds")
        logs = tuple(self._log("events", log_id, heads[log_id].size, entries[log_id]) for log_id in sorted(entries))
        schema_ids = {_schema_id(entry.value) for log in logs for entry in log.entries}
        return Bundle(str(session_id), standing.note, self._control(standing, schema_ids), logs)

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
        note, checkpoint, heads = self.signed(notes)
        head = heads.get(log_id)
        if head is None or leaf_index >= head.size:
            raise Unavailable(f"leaf {leaf_index} of log {log_id} is not signed yet: try again in ten seconds")
        ranges = inclusion_ranges(leaf_index, head.size)
        return note, checkpoint, head, self._blocks.proof(table, log_id, ranges, head.size)

    def multiproof(self, log_id: str, indexes: Sequence[int], size: int) -> list[bytes]:
        """Return the proof that leaves of a log of session events are among its first ``size``; ascending indexes."""
        return self._blocks.proof("events", log_id, multiproof_ranges(indexes, size), size)

    def _control(self, standing: Standing, schema_ids: set[int | None]) -> BundleLog:
        wanted = schema_ids | {_schema_id(standing.epoch.value)}
        schemas = (row for schema_id, (row, _) in self.facts.schemas.items() if schema_id in wanted)
        size = standing.checkpoint.size
        rows = [row for row in (standing.epoch, *schemas) if row.leaf_index < size]
        entries = [BundleEntry(row.leaf_index, row.offset, row.broker_time_us, row.key, row.value) for row in rows]
        return self._log("ledger_control", control_log_of(standing.checkpoint.origin), size, entries)

    def _log(self, table: str, log_id: str, size: int, entries: list[BundleEntry]) -> BundleLog:
        entries = sorted(entries, key=lambda entry: entry.leaf_index)
        ranges = multiproof_ranges([entry.leaf_index for entry in entries], size)
        return BundleLog(log_id, size, tuple(entries), tuple(self._blocks.proof(table, log_id, ranges, size)))


def _schema_id(value: bytes | None) -> int | None:
    return int(HEADER.unpack_from(value)[1]) if value is not None and len(value) >= HEADER.size else None
