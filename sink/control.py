"""Entries of the control log → ``ledger_control``. Pure, but for the registry that the decoder asks."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa

from procurator import control_entries
from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.control_entries import ControlEntry
from procurator.events import NAMESPACE
from procurator.registry import Registry
from procurator.sink import arrow, rows
from procurator.sink.blocks import Projected
from procurator.sink.records import Records
from procurator.sink.rows import Columns
from procurator.sink.store import LedgerStore
from procurator.sink.worker import Source
from procurator.topics import LEDGER_CONTROL


@dataclass
class ControlProjection:
    """Entries of the control log → ``ledger_control``."""

    parse: Callable[[bytes | None], ControlEntry]
    table: str = field(default="ledger_control", init=False)

    def project(self, records: Records) -> Projected:
        parsed, rejected = rows.parse_all(self.parse, records.values)
        flags = [(rows.REJECTED,) if entry is None else () for entry in parsed]
        return Projected(flags, rejected, control_columns(parsed))

    def landed(self, blocks: int) -> None:
        """Nothing is remembered between blocks."""


def control_columns(entries: list[ControlEntry | None]) -> Columns:
    """Return the typed columns of control entries."""
    payloads = [("", None) if entry is None else entry["payload"] for entry in entries]
    kinds = [kind.removeprefix(NAMESPACE) for kind, _ in payloads]
    return {
        "event_id": arrow.optional_uuids([entry and entry["event_id"] for entry in entries]),
        "occurred_at": pa.array([entry and entry["occurred_at"] for entry in entries], pa.int64()).cast(
            arrow.TIMESTAMP
        ),
        "ledger_id": arrow.optional_uuids([entry and entry["ledger_id"] for entry in entries]),
        "kind": pa.array(kinds, pa.string()),
        "body": pa.array([None if body is None else _json(body) for _, body in payloads], pa.string()),
    }


def control_source(store: LedgerStore, registry: Registry) -> Source:
    """Return what the sink's worker needs to serve the control topic."""
    parse = partial(control_entries.parse, Decoder(load_schema(LEDGER_CONTROL.schema), registry.fetch))
    return Source(LEDGER_CONTROL.name, store, lambda _log: ControlProjection(parse))


def _json(body: dict[str, Any]) -> str:
    return json.dumps(body, default=bytes.hex, ensure_ascii=False, separators=(",", ":"))
