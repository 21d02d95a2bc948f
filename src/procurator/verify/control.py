"""The control log, entry by entry, against every checkpoint at hand. Pure.

Whoever walks it knows afterwards which heads of the other logs were signed, and what was purged, erased, held and
which schemas the records were written with.
"""

import json
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

from procurator import control_entries
from procurator.avro_schemas.codec import Decoder, UnknownSchema, load_schema, parse_schema
from procurator.checkpoint import Checkpoint, CheckpointError
from procurator.control_entries import ControlEntry, Head
from procurator.errors import Rejected
from procurator.leaf import entry_leaf_hash
from procurator.merkle import Accumulator, perfect_ranges
from procurator.verify.ranges import RangeSpool
from procurator.verify.report import Report
from procurator.verify.trust import TrustedKeys, claimed


class ControlRow(NamedTuple):
    """A row of ``ledger_control``."""

    offset: int
    leaf_index: int
    leaf_hash: bytes
    broker_time_us: int
    key: bytes | None
    value: bytes | None


class RecordedSchema(NamedTuple):
    """A writer schema, the broker's time of its entry, and whether the signer had asked for it in vain before."""

    text: str
    recorded_us: int
    late: bool


#: Hears (control leaf index, head) of every epoch, in the order of the log.
EpochSink = Callable[[int, Head], None]


class ControlAudit:
    """Feed it the control log's rows in order, then call `finish`."""

    def __init__(
        self,
        log_id: str,
        origin: str,
        notes: Iterable[bytes],
        trust: TrustedKeys,
        report: Report,
        epochs: EpochSink,
        ranges: RangeSpool,
    ) -> None:
        self.log_id, self.origin = log_id, origin
        self.schemas: dict[int, RecordedSchema] = {}
        self.ranges = ranges
        self.heads: dict[str, Head] = {}
        self.signed_size = 0
        self.signed_sizes = array("Q")
        self._trust, self._report, self._epochs = trust, report, epochs
        self._notes = self._by_size(notes)
        self._next_note = 0
        self._tree = Accumulator()
        self._last_offset = -1
        self._broken = False
        self._held: dict[str, set[str]] = {}
        # What an entry allows counts once a checkpoint covers it: anybody can add a row that none does.
        self._when_signed: list[Callable[[], None]] = []
        self._known_schemas: dict[int, str] = {}
        own = load_schema("ledger_control")
        self._decoder = Decoder(own, self._fetch)

    def _by_size(self, notes: Iterable[bytes]) -> list[tuple[int, bytes]]:
        found = set()
        for number, note in enumerate(notes):
            try:
                checkpoint = claimed(note)
            except CheckpointError as error:
                self._report.tampered("checkpoint_malformed", f"checkpoint {number} on file", str(error))
                continue
            if checkpoint.origin != self.origin:
                message = f"is of {checkpoint.origin}, this ledger is {self.origin}"
                self._report.tampered("another_ledger", f"checkpoint {number} on file", message)
                continue
            found.add((checkpoint.size, note))
        return sorted(found)

    def _fetch(self, schema_id: int) -> str:
        # The first entry may be its own schema: it is read with the schema that this version has.
        try:
            return self._known_schemas.get(schema_id) or load_schema("ledger_control").text
        except KeyError:  # pragma: no cover - load_schema does not raise it
            raise UnknownSchema(schema_id) from None

    def feed(self, row: ControlRow) -> None:
        """Take the next row."""
        where = f"ledger_control leaf {row.leaf_index} (offset {row.offset})"
        if row.leaf_index != self._tree.size or row.offset <= self._last_offset:
            self._out_of_place(row, where)
            return
        self._last_offset = row.offset
        leaf = entry_leaf_hash(self.log_id, row.leaf_index, row.offset, row.broker_time_us, row.key, row.value)
        if leaf != row.leaf_hash:
            self._report.tampered("leaf_differs", where, "the stored leaf hash is not that of the entry", self.since())
        self._tree.append(leaf)
        self._report.counts["control_entries"] += 1
        try:
            entry = control_entries.parse(self._decoder, row.value)
        except Rejected as error:
            self._report.tampered("control_entry_unreadable", where, str(error), self.since())
        else:
            self._take(row, entry, where)
        self._check_notes()

    def _out_of_place(self, row: ControlRow, where: str) -> None:
        if row.leaf_index > self._tree.size and not self._broken:
            missing = f"ledger_control leaves {self._tree.size} to {row.leaf_index - 1}"
            self._report.tampered("missing", missing, "entries of the control log are gone", self.since())
            self._broken = True
        elif not self._broken:
            self._report.tampered("inserted", where, f"leaf {self._tree.size} belongs there", self.since())

    def _check_notes(self) -> None:
        while self._next_note < len(self._notes) and self._notes[self._next_note][0] == self._tree.size:
            _, note = self._notes[self._next_note]
            self._next_note += 1
            self._check_note(note)

    def _check_note(self, note: bytes) -> Checkpoint | None:
        where = f"checkpoint of size {self._tree.size}"
        try:
            checkpoint = self._trust.open(note, self.origin)
        except CheckpointError as error:
            if self._trust.opened:
                self._report.tampered("checkpoint_signature", where, str(error), self.since())
            else:
                message = "signed by a key that was not given: give the ledger's first key, rotations carry it on"
                self._report.cannot_tell("unknown_key", where, message)
            return None
        if checkpoint.root != self._tree.root():
            message = "the control log up to there has another root: it was rewritten, or two views were signed"
            self._report.tampered("checkpoint_differs", where, message, self.since())
            return None
        self._report.counts["checkpoints"] += 1
        for take in self._when_signed:
            take()
        self._when_signed.clear()
        if checkpoint.size != self.signed_size:
            self.signed_size = checkpoint.size
            self.signed_sizes.append(checkpoint.size)
        return checkpoint

    def _take(self, row: ControlRow, entry: ControlEntry, where: str) -> None:
        kind, payload = entry["payload"]
        if entry["ledger_id"] != self.origin.rpartition("/")[2]:
            self._report.tampered("another_ledger", where, f"the entry is of ledger {entry['ledger_id']}")
        if kind == control_entries.EPOCH:
            for head in control_entries.heads_of(entry):
                self._take_head(row.leaf_index, head, where)
        elif kind == control_entries.WRITER_SCHEMA:
            recorded = RecordedSchema(payload["schema"], row.broker_time_us, payload["late"])
            self._take_schema(payload["schema_id"], recorded, where)
        elif kind == control_entries.KEY_ROTATION:
            self._trust.rotate(payload["old_key"], payload["new_key"])
        elif kind == control_entries.LEGAL_HOLD:
            self._held.pop(payload["hold_id"], None)
            if not payload["released"]:
                self._held[payload["hold_id"]] = set(payload["session_ids"])
        elif kind == control_entries.PURGE:
            take = self._complete_purge if payload["completed"] else self._take_purge
            self._when_signed.append(partial(take, payload, where))
        elif kind == control_entries.ERASURE:
            self._when_signed.append(partial(self._take_erasure, payload["ranges"]))

    def _take_head(self, index: int, head: Head, where: str) -> None:
        before = self.heads.get(head.log_id)
        if before is not None and (head.size < before.size or (head.size == before.size and head.root != before.root)):
            message = f"log {head.log_id} had {before.size} entries and now another head of {head.size}"
            self._report.tampered("epoch_goes_back", where, message)
        if before is None or head.size > before.size:
            self.heads[head.log_id] = head
            self._epochs(index, head)

    def _take_schema(self, schema_id: int, recorded: RecordedSchema, where: str) -> None:
        try:
            parse_schema(recorded.text)
        except (ValueError, KeyError, TypeError) as error:
            self._report.tampered("writer_schema_unreadable", where, str(error))
            return
        self._known_schemas.setdefault(schema_id, recorded.text)
        self._when_signed.append(partial(self.schemas.setdefault, schema_id, recorded))  # type: ignore[arg-type]

    def _take_erasure(self, ranges: list[dict[str, Any]]) -> None:
        self.ranges.add_erasure((log_id, first, end) for log_id, first, end in map(_bounds, ranges))

    def _take_purge(self, payload: dict[str, Any], where: str) -> None:
        hashes = iter(payload["retained_hashes"])
        ranges = [
            (log_id, first, end, tuple(hash_ for _, hash_ in zip(perfect_ranges(first, end), hashes, strict=False)))
            for log_id, first, end in map(_bounds, payload["ranges"])
        ]
        self.ranges.add_purge(payload["purge_id"], _says(payload), ranges, payload["session_ids"])
        held = set().union(*self._held.values()) & set(payload["session_ids"])
        for session_id in sorted(held):
            self._report.tampered("purged_under_hold", where, f"session {session_id} was under a legal hold")

    def _complete_purge(self, payload: dict[str, Any], where: str) -> None:
        if not self.ranges.complete(payload["purge_id"], _says(payload)):
            message = f"completes purge {payload['purge_id']}, which no signed entry describes like that"
            self._report.tampered("purge_differs", where, message)

    def since(self) -> str:
        """Return words for the last checkpoint that everything up to here agrees with."""
        return f"after the checkpoint of size {self.signed_size}" if self.signed_size else "before any checkpoint"

    def covering(self, index: int) -> int | None:
        """Return the size of the first checkpoint that covers a leaf of the control log, None if none does."""
        at = bisect_right(self.signed_sizes, index)
        return self.signed_sizes[at] if at < len(self.signed_sizes) else None

    def before(self, index: int) -> int:
        """Return the size of the last checkpoint that does not cover a leaf of the control log, 0 if none."""
        at = bisect_left(self.signed_sizes, index + 1)
        return self.signed_sizes[at - 1] if at else 0

    def note_at(self, size: int) -> bytes:
        """Return a checkpoint on file over ``size`` entries, nothing if there is none."""
        at = bisect_left(self._notes, (size, b""))
        return self._notes[at][1] if at < len(self._notes) and self._notes[at][0] == size else b""

    def finish(self) -> None:
        """Judge what is left when the rows have ended."""
        for size, note in self._notes[self._next_note :]:
            if self._broken:
                break
            try:
                self._trust.open(note, self.origin)
            except CheckpointError as error:
                self._report.tampered("checkpoint_signature", f"checkpoint of size {size}", str(error), self.since())
                continue
            message = f"a checkpoint over {size} entries was signed, the control log has {self._tree.size}"
            self._report.tampered("cut_off", "the end of ledger_control", message, self.since())
            break
        if not self._trust.opened:
            message = "no checkpoint on file is signed by a key that was given"
            self._report.cannot_tell("no_checkpoint", "checkpoints", message)
        unsigned = self._tree.size - self.signed_size
        self._report.counts["control_entries_unsigned"] = max(0, unsigned)
        self._report.anchor = f"{self.origin} size {self.signed_size}"


def _bounds(leaf_range: dict[str, Any]) -> tuple[str, int, int]:
    first: int = leaf_range["first_leaf"]
    return leaf_range["log_id"], first, first + leaf_range["leaf_count"]


def _says(purge: dict[str, Any]) -> str:
    """Return what both entries of a purge must say, as one text."""
    digest = purge["export_sha256"]
    return json.dumps([digest and digest.hex(), purge["totals"]])
