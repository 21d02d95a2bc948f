"""All trees of one ledger as the signer knows them, and what each entry of the control log means to it. Pure.

The control log is written by the signer alone. An entry that no checkpoint covers and that this signer did not
announce (`intent`) is a stranger's: signing on would make it true, so the signer stops.
"""

from collections.abc import Collection, Mapping
from typing import Any

from procurator.checkpoint import Checkpoint
from procurator.control_entries import EPOCH, KEY_ROTATION, WRITER_SCHEMA, ControlEntry, Head, heads_of
from procurator.leaf import parse_log_id
from procurator.ledger_name import origin_of
from procurator.signer.state import LogState, SignerState
from procurator.signer.trees import Inconsistent, LogTree, Promise, Record
from procurator.topics import LEDGER_CONTROL


class Ledger:
    """The trees, and what the control log's entries so far have said."""

    def __init__(self, control_log_id: str, state: SignerState | None) -> None:
        self.origin = origin_of(control_log_id)
        self.ledger_id = str(parse_log_id(control_log_id)[0])
        if state is not None and state.origin != self.origin:
            raise Inconsistent(
                f"the signer's state is of {state.origin}, but Kafka's control topic makes {self.origin}: the topic "
                "was recreated, or this is another cluster. A new ledger needs an empty signer's folder"
            )
        self.control = state.control.tree(control_log_id) if state else LogTree(control_log_id, LEDGER_CONTROL.name)
        self.logs = {log_id: log.tree(log_id) for log_id, log in state.logs.items()} if state else {}
        self.schema_ids = set(state.schema_ids) if state else set()
        self.signed_size = 0
        self.seen: set[str] = set()
        self.rotation: Mapping[str, Any] | None = None
        self._intent: Collection[str] = state.intent if state else ()
        self._proposed: dict[str, list[Head]] = {}

    def log(self, log_id: str, topic: str) -> LogTree:
        """Return the tree of a log of ``topic``, an empty one for a new log."""
        return self.logs.setdefault(log_id, LogTree(log_id, topic))

    def hold_to(self, checkpoint: Checkpoint, source: str) -> None:
        """Hold the control log to a checkpoint that was signed before; in the order of their sizes."""
        if checkpoint.origin != self.origin:
            raise Inconsistent(f"{source} is of {checkpoint.origin}, not of {self.origin}")
        self.control.promise(Promise(checkpoint.size, checkpoint.root, source))
        self.signed_size = checkpoint.size

    def propose(self, records: Collection[ControlEntry]) -> None:
        """Say which entries are about to be written; others will not be taken from now on."""
        self._intent = {record["event_id"] for record in records}
        self._proposed = {record["event_id"]: heads_of(record) for record in records if record["payload"][0] == EPOCH}

    def take_control(self, record: Record, entry: ControlEntry, adopt: bool = False) -> None:
        """Add one entry of the control log. Raises Inconsistent when it is a stranger's or contradicts the trees.

        ``adopt`` takes entries that no checkpoint on file covers as our own.
        """
        event_id = entry["event_id"]
        stranger = self.control.size >= self.signed_size and event_id not in self._intent
        if entry["ledger_id"] != self.ledger_id or (stranger and not adopt):
            raise Inconsistent(
                f"the entry at offset {record.offset} of the control log was not written by this signer: either "
                "another one has written it, or this signer's folder is not the latest (see docs/ledger.md)"
            )
        self.control.extend([record])
        self.seen.add(event_id)
        kind, payload = entry["payload"]
        if kind == EPOCH:
            self._take_epoch(entry)
        elif kind == WRITER_SCHEMA:
            self.schema_ids.add(payload["schema_id"])
        elif kind == KEY_ROTATION:
            self.rotation = payload

    def _take_epoch(self, entry: ControlEntry) -> None:
        heads = heads_of(entry)
        if self._proposed.pop(entry["event_id"], None) == heads:
            return  # our own, just written: the trees have gone on meanwhile
        source = f"the epoch at leaf {self.control.size - 1} of the control log"
        for head in heads:
            self.log(head.log_id, head.topic).promise(Promise(head.size, head.root, source))

    def open_promises(self) -> dict[str, Promise]:
        """Return the promises that the records so far do not reach, by log."""
        trees = {**self.logs, self.control.log_id: self.control}
        return {log_id: tree.open_promise for log_id, tree in trees.items() if tree.open_promise}

    def heads(self) -> list[Head]:
        """Return the heads of all logs but the control log, in the order of their ids."""
        return [self.logs[log_id].head for log_id in sorted(self.logs)]

    def checkpoint(self) -> Checkpoint:
        """Return the control log's head, to be signed. Raises Inconsistent while a promise is open."""
        for log_id, promise in self.open_promises().items():
            raise Inconsistent(f"log {log_id}: {promise.source} says {promise.size} entries, Kafka has fewer")
        return Checkpoint(self.origin, self.control.size, self.control.head.root)

    def state(self, intent: Collection[str] = (), **fields: Any) -> SignerState:
        """Return the state as of now, to be kept once what follows is signed."""
        return SignerState(
            origin=self.origin,
            logs={log_id: LogState.of(tree) for log_id, tree in self.logs.items()},
            control=LogState.of(self.control),
            schema_ids=frozenset(self.schema_ids),
            intent=frozenset(intent),
            **fields,
        )
