"""Ledger entries as the API shows them: what is in the exact bytes, beside where they stand. Pure but for schemas."""

import base64
from hashlib import sha256
from typing import Any

from procurator.avro_json import Convert
from procurator.avro_schemas.codec import Decoder
from procurator.errors import Rejected
from procurator.query_api.queries.base import Row


def shown(rows: list[Row], decoder: Decoder, to_json: Convert) -> list[dict[str, Any]]:
    """Return the entries in ``rows`` (see `ListEntries`) with their events decoded.

    Raises Unavailable when the registry is away and a schema has not been met before.
    """
    return [_shown(row, decoder, to_json) for row in rows]


def _shown(row: Row, decoder: Decoder, to_json: Convert) -> dict[str, Any]:
    value = None if row["value"] is None else base64.b64decode(row["value"])
    try:
        event = to_json(decoder.decode(value))
    except Rejected:
        event = None
    return {
        **row,
        "key": None if row["key"] is None else key_text(base64.b64decode(row["key"])),
        "rejected_reason": row["rejected_reason"] or None,
        "value_sha256": None if value is None else sha256(value).hexdigest(),
        "value_bytes": None if value is None else len(value),
        **{name: event and event[name] for name in ("event_id", "emitter_id", "sequence", "occurred_at")},
        "event": event,
    }


def key_text(key: bytes) -> str:
    """Return a record's key for people: text where it is UTF-8, otherwise hexadecimal after ``0x``."""
    try:
        return key.decode()
    except UnicodeDecodeError:
        return f"0x{key.hex()}"
