"""A whole ledger in memory: logs of real events, control log, checkpoints; tables as ClickHouse would show them."""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest

from procurator.avro_schemas.codec import UnknownSchema, load_schema
from procurator.checkpoint import Checkpoint, Signer, sign_checkpoint
from procurator.control_entries import EPOCH, ERASURE, KEY_ROTATION, PURGE, WRITER_SCHEMA, Head
from procurator.leaf import entry_leaf_hash
from procurator.ledger_name import origin_of
from procurator.merkle import multiproof, perfect_ranges, root_hash
from procurator.partitioner import partition_of
from procurator.pricing import PriceBook
from procurator.signer.entries import entry, epoch_payload
from procurator.sink.rederive import Rederivation
from procurator.topics import SESSION_EVENTS
from procurator.verify.bundle_format import Bundle, BundleEntry, BundleLog
from procurator.verify.control import ControlRow
from procurator.verify.ledger import LedgerCheck, verify_ledger
from procurator.verify.report import Report
from procurator.verify.source import Bounds, Leaves, LedgerSource

PARTITIONS = 2
EVENT_SCHEMA_ID, CONTROL_SCHEMA_ID = 1, 2
Row = dict[str, Any]


def schema_text(schema_id: int) -> str:
    """The registry: one schema of events."""
    if schema_id != EVENT_SCHEMA_ID:
        raise UnknownSchema(schema_id)
    return load_schema("session_event").text


@dataclass
class Model:
    """A ledger and the rows of its tables. Everything may be changed; `verify` says what it found."""

    rng: random.Random
    rows: list[Row] = field(default_factory=list)
    control: list[ControlRow] = field(default_factory=list)
    notes: list[bytes] = field(default_factory=list)
    types: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.control_log = f"{UUID(int=self.rng.getrandbits(128))}:0"
        self.topic_id = UUID(int=self.rng.getrandbits(128))
        self.origin = origin_of(self.control_log)
        self.signer = Signer("ledger.test", self.rng.randbytes(32))
        self.first_key = self.signer.verifier
        self.log_ids = [f"{self.topic_id}:{partition}" for partition in range(PARTITIONS)]
        self.hashes: dict[str, list[bytes]] = {log_id: [] for log_id in self.log_ids}
        self.offsets = dict.fromkeys([*self.log_ids, self.control_log], 0)
        self.time_us = 1_700_000_000_000_000
        self.sequences: dict[str, int] = {}
        self.sessions = [str(UUID(int=self.rng.getrandbits(128), version=4)) for _ in range(4)]
        self.derive = Rederivation(schema_text, dict.fromkeys(self.log_ids, SESSION_EVENTS.name), PriceBook())
        for schema_id, stem in ((CONTROL_SCHEMA_ID, "ledger_control"), (EVENT_SCHEMA_ID, "session_event")):
            schema = load_schema(stem)
            payload = {"schema_id": schema_id, "subject": schema.name, "schema": schema.text}
            self.add_control(WRITER_SCHEMA, payload)

    # Growing it

    def add_event(self, session_id: str | None = None, garbage: bool = False, schema_id: int = EVENT_SCHEMA_ID) -> None:
        """A turn of a session, in the log that its key belongs to; or bytes that are no event."""
        session_id = session_id or self.rng.choice(self.sessions)
        sequence = self.sequences[session_id] = self.sequences.get(session_id, -1) + 1
        event = {
            "event_id": str(UUID(int=self.rng.getrandbits(128), version=4)),
            "session_id": session_id,
            "emitter_id": "runtime",
            "sequence": sequence,
            "occurred_at": self.time_us,
            "nonce": self.rng.randbytes(16),
            "org_id": "acme",
            "agent_id": "a",
            "owner_team_id": "t",
            "payload": (
                "procurator.v1.TurnRecorded",
                {"turn_index": sequence, "role": "USER", "content": f"word {self.rng.random()}"},
            ),
        }
        value = load_schema("session_event").encode(event, schema_id)
        if garbage or schema_id != EVENT_SCHEMA_ID:
            self.sequences[session_id] -= 1
        if garbage:
            value = self.rng.randbytes(20)
        log_id = self.log_ids[partition_of(session_id, PARTITIONS)]
        self._append(log_id, session_id.encode(), value)

    def _append(self, log_id: str, key: bytes, value: bytes) -> None:
        self.time_us += self.rng.randrange(1_000_000)
        offset = self.offsets[log_id] = self.offsets[log_id] + self.rng.choice((0, 0, 0, 1))
        index = len(self.hashes[log_id])
        leaf = entry_leaf_hash(log_id, index, offset, self.time_us, key, value)
        self.hashes[log_id].append(leaf)
        self.offsets[log_id] += 1
        derived = self.derive(log_id, [offset], [self.time_us], [key], [value])
        self.types = {name: column.type for name, column in derived.items()}
        row: Row = {
            "log_id": log_id.encode(),
            "offset": offset,
            "leaf_index": index,
            "leaf_hash": leaf,
            "broker_time_us": self.time_us,
            "key": key,
            "value": value,
            "value_sha256": None,
        }
        self.rows.append({**row, **{name: column[0].as_py() for name, column in derived.items()}})

    def add_control(self, kind: str, payload: dict[str, Any]) -> None:
        """An entry of the control log."""
        record = entry(
            str(UUID(int=self.rng.getrandbits(128), version=4)), self.time_us, self.origin[-36:], kind, payload
        )
        value = load_schema("ledger_control").encode(record, CONTROL_SCHEMA_ID)
        offset, index = self.offsets[self.control_log], len(self.control)
        leaf = entry_leaf_hash(self.control_log, index, offset, self.time_us, None, value)
        self.control.append(ControlRow(offset, index, leaf, self.time_us, None, value))
        self.offsets[self.control_log] += self.rng.choice((1, 2))

    def heads(self) -> list[Head]:
        return [
            Head(log_id, SESSION_EVENTS.name, len(leaves), self.offsets[log_id], root_hash(leaves))
            for log_id, leaves in self.hashes.items()
        ]

    def sign(self, *also: Signer) -> None:
        """An epoch and a checkpoint over it."""
        self.add_control(EPOCH, epoch_payload(self.heads()))
        root = root_hash([row.leaf_hash for row in self.control])
        self.notes.append(sign_checkpoint(Checkpoint(self.origin, len(self.control), root), self.signer, *also))

    def rotate(self) -> None:
        """A new key; the next checkpoint is signed by both."""
        new = Signer("ledger.test", self.rng.randbytes(32))
        keys = {"old_key": str(self.signer.verifier), "new_key": str(new.verifier), "revoked": False, "reason": "test"}
        self.add_control(KEY_ROTATION, keys)
        self.sign(new)
        self.signer = new

    def purge(
        self, log_id: str, first: int, count: int, session_ids: Sequence[str] = (), completed: bool = False
    ) -> dict[str, Any]:
        """Remove leaves, with the entry that says so, and the one that says that they are gone; return the first."""
        leaves = self.hashes[log_id]
        ranges = perfect_ranges(first, first + count)
        purge = {
            "purge_id": str(UUID(int=self.rng.getrandbits(128), version=4)),
            "ranges": [{"log_id": log_id, "first_leaf": first, "leaf_count": count}],
            "retained_hashes": [root_hash(leaves[start:end]) for start, end in ranges],
            "session_ids": list(session_ids),
            "totals": "{}",
            "requested_by": "test",
            "reason": "test",
        }
        self.add_control(PURGE, purge)
        if completed:
            nothing: dict[str, Any] = {"ranges": [], "retained_hashes": [], "session_ids": []}
            self.add_control(PURGE, {**purge, **nothing, "completed": True})
        self.rows = [
            row
            for row in self.rows
            if row["log_id"] != log_id.encode() or not first <= row["leaf_index"] < first + count
        ]
        return purge

    def erase(self, log_id: str, index: int) -> None:
        """Erase an entry's bytes and content, with the entry that says so."""
        erasure = {
            "erasure_id": str(UUID(int=2, version=4)),
            "ranges": [{"log_id": log_id, "first_leaf": index, "leaf_count": 1}],
            "subject": "user",
            "requested_by": "test",
            "reason": "test",
        }
        self.add_control(ERASURE, erasure)
        for row in self.rows:
            if row["log_id"] == log_id.encode() and row["leaf_index"] == index:
                row["value_sha256"] = sha256(row["value"]).digest()
                row["value"] = row["content"] = None

    def rows_of(self, log_id: str) -> list[Row]:
        """The rows of a log by offset."""
        return sorted((row for row in self.rows if row["log_id"] == log_id.encode()), key=lambda row: row["offset"])

    def verify(self, **fields: Any) -> Report:
        """What ``verify ledger`` finds, from the first key on."""
        check = LedgerCheck(
            source=MemorySource(self),
            origin=self.origin,
            notes=self.notes,
            keys=[self.first_key],
            tables={SESSION_EVENTS.name: "events"},
            derive=lambda schema, topics, ask: Rederivation(schema, topics, PriceBook(), ask),
            progress=lambda *_: None,
        )
        return verify_ledger(replace(check, **fields))

    def bundle(self, session_id: str) -> Bundle:
        """A session's bundle under the last checkpoint."""
        logs = []
        for log_id in self.log_ids:
            rows = [row for row in self.rows_of(log_id) if row["session_id"] == UUID(session_id).bytes]
            if rows:
                entries = tuple(
                    BundleEntry(r["leaf_index"], r["offset"], r["broker_time_us"], r["key"], r["value"]) for r in rows
                )
                logs.append(self._bundle_log(log_id, self.hashes[log_id], entries))
        chosen = [self.control[0], self.control[1], self.control[-1]]
        entries = tuple(BundleEntry(r.leaf_index, r.offset, r.broker_time_us, r.key, r.value) for r in chosen)
        control = self._bundle_log(self.control_log, [row.leaf_hash for row in self.control], entries)
        return Bundle(session_id, self.notes[-1], control, tuple(logs))

    def _bundle_log(self, log_id: str, leaves: list[bytes], entries: tuple[BundleEntry, ...]) -> BundleLog:
        proof = multiproof(leaves, [entry.leaf_index for entry in entries])
        return BundleLog(log_id, len(leaves), entries, tuple(proof))


class MemorySource(LedgerSource):
    """The model's rows as the tables show them."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def control_rows(self, log_id: str, first_offset: int = 0) -> Iterator[ControlRow]:
        yield from sorted(self._model.control, key=lambda row: (row.offset, row.leaf_index))

    def leaves(self, table: str, log_id: str, offset: int = 0, from_rows: bool = False) -> Iterator[Leaves]:
        rows = [row for row in self._model.rows_of(log_id) if row["offset"] >= offset]
        yield Leaves([r["offset"] for r in rows], [r["leaf_index"] for r in rows], [r["leaf_hash"] for r in rows])

    def entries(self, table: str, bounds: Mapping[str, Bounds]) -> Iterator[Any]:
        within = []
        for row in self._model.rows:
            first, end = bounds.get(row["log_id"].decode(), (0, 0))
            if first <= row["leaf_index"] < end:
                within.append(row)
        rows = sorted(within, key=lambda row: (row["session_id"], row["log_id"], row["offset"]))
        if rows:
            names = {name: self._model.types.get(name) for name in rows[0]} | {"value_sha256": pa.binary()}
            yield pa.table({name: pa.array([row[name] for row in rows], type_) for name, type_ in names.items()})

    def sequences(
        self, log_id: str, session_ids: Sequence[str], before_leaf: int
    ) -> dict[str, dict[str, Iterable[int]]]:
        found: dict[str, dict[str, Iterable[int]]] = {}
        for row in self._model.rows_of(log_id):
            session_id = str(UUID(bytes=row["session_id"]))
            if row["leaf_index"] < before_leaf and session_id in session_ids and not row["flags"]:
                numbers = found.setdefault(session_id, {}).setdefault(row["emitter_id"], set())
                if row["sequence"] is not None:  # groupUniqArray passes over NULL
                    numbers.add(row["sequence"])  # type: ignore[attr-defined]
        return found

    def missing_sequences(self) -> list[tuple[str, str, int]]:
        numbers: dict[tuple[str, str], set[int]] = {}
        for row in self._model.rows:
            if row["sequence"] is not None:
                numbers.setdefault((str(UUID(bytes=row["session_id"])), row["emitter_id"]), set()).add(row["sequence"])
        return [(*who, count) for who, seen in sorted(numbers.items()) if (count := max(seen) + 1 - len(seen))]

    def log_ids(self, table: str) -> dict[str, int]:
        return {row["log_id"].decode(): 1 for row in self._model.rows}

    def gaps(self) -> list[tuple[str, int, int]]:
        return []


@pytest.fixture(scope="session")
def make() -> Callable[[int], Model]:
    """Make a ledger from a seed: some 30 events in 2 logs under 3 checkpoints."""

    def grow(seed: int) -> Model:
        rng = random.Random(seed)
        model = Model(rng)
        for _ in range(3):
            for _ in range(rng.randrange(4, 16)):
                model.add_event(garbage=rng.random() < 0.05)
            model.sign()
        return model

    return grow
