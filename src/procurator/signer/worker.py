"""IO: the signer's loop.

Crash order: keep the intent, write the entries in a transaction, read them back, sign, append to the file, publish,
keep the state. Dying anywhere repeats from the kept state, which every later step is checked against; the same head
signed twice gives the same bytes.
"""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from procurator import metrics
from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.clock import now_us
from procurator.control_entries import EPOCH, WRITER_SCHEMA, ControlEntry, Head, parse
from procurator.errors import Rejected, Unavailable, UserError
from procurator.kafka import Topics
from procurator.kafka_transactions import Outgoing, TransactionalWriter
from procurator.leaf import log_id
from procurator.private_files import replace_file
from procurator.registry import Registry
from procurator.signer import entries, requests
from procurator.signer import state as states
from procurator.signer.ledger import Ledger
from procurator.signer.notary import Notary
from procurator.signer.policy import SigningPolicy
from procurator.signer.schemas import SchemaIds
from procurator.signer.state import SignerState
from procurator.signer.transport import LogReader, partitions_of
from procurator.signer.trees import Inconsistent, Record
from procurator.topics import CHECKPOINTS, LEDGER_CONTROL, TOPICS

LEDGERED = tuple(topic.name for topic in TOPICS if topic.ledgered)
POLL_S = 0.25
READ_BACK_S = 30.0


@dataclass(frozen=True)
class SignerConfig:
    """Where the signer reads and keeps things. ``folder`` is its own; nobody else writes it but requests.

    ``accept_gaps``: go on where Kafka begins although earlier records were never signed. ``adopt``: take entries of
    the control log that no checkpoint on file covers for this signer's own.
    """

    bootstrap_servers: str
    registry_url: str
    folder: Path
    key_file: Path
    checkpoints_file: Path
    policy: SigningPolicy = field(default_factory=SigningPolicy)
    accept_gaps: bool = False
    adopt: bool = False

    @property
    def state_file(self) -> Path:
        return self.folder / "state.json"

    @property
    def requests_folder(self) -> Path:
        return self.folder / "requests"


class SignerWorker:
    """One opening of the ledger: `open`, then `step` again and again; after Unavailable close it, open another."""

    def __init__(self, config: SignerConfig, stopping: Callable[[], bool]) -> None:
        self._config = config
        self._stopping = stopping
        config.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._notary = Notary(config.key_file, config.checkpoints_file)
        self._topics = Topics(config.bootstrap_servers)
        self._registry = Registry(config.registry_url)
        self._control_schema = load_schema(LEDGER_CONTROL.schema)
        self._checkpoint_schema = load_schema(CHECKPOINTS.schema)
        self._decoder = Decoder(self._control_schema, self._registry.fetch)
        self._reader = LogReader(config.bootstrap_servers, config.accept_gaps)
        self._signed_heads: list[Head] | None = None  # None: write an epoch at once
        self._epoch_at_s = float("-inf")

    def close(self) -> None:
        self._reader.close()
        self._registry.close()

    def open(self) -> None:
        """Fence other signers, read the control log, then all logs as far as was signed, and sign what was not."""
        self._described = self._describe()
        self._control_schema_id = self._registry.schema_id(self._control_schema)
        self._checkpoint_schema_id = self._registry.schema_id(self._checkpoint_schema)
        control_log_id = log_id(self._described[LEDGER_CONTROL.name][0], 0)
        path = self._config.state_file
        stored = states.parse(path.read_text("utf-8"), str(path)) if path.exists() else None
        self._schemas = SchemaIds(self._registry, stored.unknown_ids if stored else ())
        self._schemas.add(self._control_schema_id)
        self._ledger = Ledger(control_log_id, stored)
        self._state: SignerState = stored or self._ledger.state()
        # Only when every earlier transaction has ended does the control log show all that was written.
        own = f"procurator-signer-{self._ledger.ledger_id}"
        self._writer = TransactionalWriter(self._config.bootstrap_servers, own, "signer of this ledger")
        self._writer.open()
        signed = self._notary.signed_before(self._ledger.origin, self._state.checkpoint, self._state.verifier_keys)
        for checkpoint, source in signed:
            self._ledger.hold_to(checkpoint, source)
        self._read_what_was_signed(control_log_id)
        if not self._stopping() and self._ledger.control.size > self._ledger.signed_size:
            self._sign()
        self._after_signing()

    def step(self) -> None:
        """Read what has come and, when it is due, write and sign an epoch."""
        self._read()
        asked = any(self._config.requests_folder.glob("*.json"))
        news = asked or self._ledger.heads() != self._signed_heads
        if self._config.policy.due(time.monotonic() - self._epoch_at_s, news):
            self._write_epoch()

    def _describe(self) -> dict[str, tuple[str, int]]:
        described = self._topics.describe(LEDGERED)
        if missing := [topic for topic in LEDGERED if topic not in described]:
            raise UserError(f"topic {missing[0]} does not exist: run `procurator setup`")
        return described

    def _read_what_was_signed(self, control_log_id: str) -> None:
        """Read the control log alone to its end, since the others are judged by it; then what it promises of them."""
        ledger = self._ledger
        self._reader.read({(LEDGER_CONTROL.name, 0): control_log_id}, {control_log_id: ledger.control})
        while control_log_id not in self._reader.at_end and not self._stopping():
            self._read()
        partitions = partitions_of(self._described)
        others = {place: each for place, each in partitions.items() if each != control_log_id}
        self._reader.read(others, {each: ledger.log(each, topic) for (topic, _), each in others.items()})
        while not self._stopping() and (promises := ledger.open_promises()):
            for each, promise in promises.items():
                if each in self._reader.at_end or each not in partitions.values():
                    raise Inconsistent(
                        f"log {each}: {promise.source} says {promise.size} entries, Kafka has fewer: refusing to sign"
                    )
            self._read()

    def _require_same_topics(self) -> None:
        if self._describe() != self._described:
            raise Unavailable("a topic was recreated or has more partitions: reading all logs anew")

    def _read(self) -> None:
        try:
            batches = self._reader.poll(POLL_S)
        except Inconsistent:  # A recreated topic lacks the records of the one before, and is another log.
            self._require_same_topics()
            raise
        for each, records in batches.items():
            self._schemas.note(records)
            if each == self._ledger.control.log_id:
                for record in records:
                    self._ledger.take_control(record, self._decode(record), self._config.adopt)
            else:
                self._ledger.logs[each].extend(records)

    def _decode(self, record: Record) -> ControlEntry:
        try:
            return parse(self._decoder, record.value)
        except Rejected as error:
            raise Inconsistent(f"offset {record.offset} of the control log is no entry of ours: {error}") from error

    def _write_epoch(self) -> None:
        self._require_same_topics()
        ledger = self._ledger
        heads = ledger.heads()
        records = self._entries(heads)
        ids = frozenset(record["event_id"] for record in records)
        before = ledger.state()
        self._save(replace(self._state, intent=ids))
        ledger.propose(records)
        encode, schema_id = self._control_schema.encode, self._control_schema_id
        self._writer.write(Outgoing(LEDGER_CONTROL.name, None, encode(record, schema_id)) for record in records)
        self._await_entries(ids)
        note = self._sign()
        keys = tuple(map(str, self._notary.verifiers(self._state.verifier_keys)))
        known, unknown = frozenset(ledger.schema_ids), self._schemas.unknown
        self._save(replace(before, checkpoint=note, verifier_keys=keys, schema_ids=known, unknown_ids=unknown))
        self._after_signing()
        self._signed_heads = heads
        self._epoch_at_s = time.monotonic()

    def _entries(self, heads: list[Head]) -> list[ControlEntry]:
        """Return what to write: what was asked for, schemas that came up, and the epoch."""
        waiting = requests.waiting(self._config.requests_folder)
        payloads = [
            (each.event_id, each.kind, each.payload) for each in waiting if each.event_id not in self._ledger.seen
        ]
        schemas = self._schemas.payloads(self._ledger.schema_ids)
        payloads += [(str(uuid.uuid4()), WRITER_SCHEMA, schema) for schema in schemas]
        payloads.append((str(uuid.uuid4()), EPOCH, entries.epoch_payload(heads)))
        now = now_us()
        return [entries.entry(event_id, now, self._ledger.ledger_id, kind, body) for event_id, kind, body in payloads]

    def _await_entries(self, ids: frozenset[str]) -> None:
        deadline_s = time.monotonic() + READ_BACK_S
        while not ids <= self._ledger.seen:
            if time.monotonic() > deadline_s:
                raise Unavailable("Kafka does not give back the entries that were committed to the control log")
            self._read()

    def _sign(self) -> bytes:
        """Sign the control log's head, on file first, then on its topic."""
        ledger = self._ledger
        checkpoint = ledger.checkpoint()
        note = self._notary.sign(checkpoint, ledger.rotation)
        record = {
            "log_id": ledger.control.log_id,
            "origin": checkpoint.origin,
            "size": checkpoint.size,
            "root": checkpoint.root,
            "note": note.decode(),
            "signed_at": now_us(),
        }
        value = self._checkpoint_schema.encode(record, self._checkpoint_schema_id)
        self._writer.write([Outgoing(CHECKPOINTS.name, ledger.control.log_id, value)])
        ledger.signed_size = checkpoint.size
        metrics.CHECKPOINT_TIME.set_to_current_time()
        metrics.CHECKPOINT_SIZE.set(checkpoint.size)
        return note

    def _after_signing(self) -> None:
        """Do what waited for a signature: use a new key, forget requests."""
        if self._ledger.rotation and self._ledger.control.size == self._ledger.signed_size:
            self._notary.rotate(self._ledger.rotation)
            self._ledger.rotation = None
        for request in requests.waiting(self._config.requests_folder):
            if request.event_id in self._ledger.seen:
                request.path.unlink(missing_ok=True)

    def _save(self, state: SignerState) -> None:
        replace_file(self._config.state_file, states.render(state).encode())
        self._state = state
