"""IO: what the control log says that proofs and seals need, read on as it grows: schemas, erasures, purges.

Taken from the table as it stands: who is given a proof checks it, so a lie in here only makes a proof that fails.
"""

import threading
from collections import defaultdict

from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.control_entries import ERASURE, PURGE, WRITER_SCHEMA, parse
from procurator.errors import Rejected
from procurator.events import NAMESPACE
from procurator.merkle import perfect_ranges
from procurator.tree_blocks import Retained
from procurator.verify.control import ControlRow, RecordedSchema
from procurator.verify.source import LedgerSource

_KINDS = tuple(kind.removeprefix(NAMESPACE) for kind in (ERASURE, PURGE, WRITER_SCHEMA))


class ControlFacts:
    """Of one control log, as far as `read_to` was called. Methods may be called from several threads."""

    def __init__(self, source: LedgerSource) -> None:
        self.schemas: dict[int, tuple[ControlRow, RecordedSchema]] = {}
        self.erased: dict[str, set[int]] = defaultdict(set)
        self.purged: dict[str, str] = {}
        self._retained: dict[str, dict[int, tuple[int, bytes]]] = defaultdict(dict)
        self._source = source
        self._size = 0
        self._lock = threading.Lock()
        own = load_schema("ledger_control")
        self._decoder = Decoder(own, lambda _id: own.text)

    def retained(self, log_id: str) -> Retained:
        """Return the subtrees of a log whose leaves were purged."""
        return self._retained.get(log_id, {})

    def read_to(self, log_id: str, size: int) -> None:
        """Read the control log's entries up to a size."""
        with self._lock:
            for row in self._source.control_kinds(log_id, _KINDS, self._size, size):
                self._take(row)
            self._size = max(self._size, size)

    def _take(self, row: ControlRow) -> None:
        try:
            kind, payload = parse(self._decoder, row.value)["payload"]
        except Rejected:  # damaged: what it allowed cannot be proved
            return
        if kind == WRITER_SCHEMA:
            recorded = RecordedSchema(payload["schema"], row.broker_time_us, payload["late"])
            self.schemas.setdefault(payload["schema_id"], (row, recorded))
        elif kind == ERASURE:
            for each in payload["ranges"]:
                self.erased[each["log_id"]].update(range(each["first_leaf"], each["first_leaf"] + each["leaf_count"]))
        elif kind == PURGE:
            self.purged |= dict.fromkeys(payload["session_ids"], payload["purge_id"])
            hashes = iter(payload["retained_hashes"])
            for each in payload["ranges"]:
                first, nodes = each["first_leaf"], self._retained[each["log_id"]]
                for start, end in perfect_ranges(first, first + each["leaf_count"]):
                    nodes[start] = (end, next(hashes, b""))
