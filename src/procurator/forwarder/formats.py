"""Batches as they are written: our JSON, OCSF, Splunk HEC. Pure.

What is said of an entry is the same for every endpoint but for its number, so it is written once: `piece` returns the
bytes before and after the number.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from procurator.clock import to_rfc3339
from procurator.forwarder.ocsf import as_ocsf
from procurator.webhooks.endpoint import Format

if TYPE_CHECKING:
    from procurator.forwarder.entries import Entry

CONTENT_TYPE = "application/json"


class Piece(NamedTuple):
    """An entry as it is written around its sequence number."""

    before: bytes
    after: bytes

    @property
    def size_bytes(self) -> int:
        return len(self.before) + len(self.after) + 8


def piece(entry: "Entry", form: Format) -> Piece:
    """Return what is written of an entry, made at the first question."""
    if form not in entry.pieces:
        entry.pieces[form] = _WRITERS[form](entry)
    return entry.pieces[form]


def body(form: Format, endpoint_id: str, numbered: "list[tuple[int, Entry]]") -> bytes:
    """Return a batch of at least one entry; the same batch is always the same bytes."""
    written = [(number, piece(entry, form)) for number, entry in numbered]
    items = [b"%s%d%s" % (each.before, number, each.after) for number, each in written]
    if form == Format.SPLUNK_HEC:
        return b"\n".join(items)
    if form == Format.OCSF:
        return b"[%s]" % b",".join(items)
    return _envelope("procurator.entries", endpoint_id, numbered[-1][1].broker_time_us, items)


def test_body(form: Format, endpoint_id: str, at_us: int) -> bytes:
    """Return what a test delivery carries: nothing of the ledger, and no number."""
    if form == Format.SPLUNK_HEC:
        event = {"type": "procurator.test", "endpoint_id": endpoint_id}
        return orjson.dumps({"time": at_us / 1e6, "source": "procurator", "event": event})
    if form == Format.OCSF:
        test = {"kind": "Test", "log_id": "", "offset": 0, "broker_time": to_rfc3339(at_us), "event": {}}
        metadata, rest = as_ocsf(test, at_us)
        return orjson.dumps([{"metadata": metadata, **rest}])
    return _envelope("procurator.test", endpoint_id, at_us, [])


def headers(form: Format, token: str | None) -> dict[str, str]:
    """Return the headers that a format needs beside the signature."""
    needed = {"content-type": CONTENT_TYPE, "user-agent": "procurator-forward"}
    return {**needed, "authorization": f"Splunk {token}"} if form == Format.SPLUNK_HEC and token else needed


def _envelope(kind: str, endpoint_id: str, at_us: int, items: list[bytes]) -> bytes:
    head = {"type": kind, "timestamp": to_rfc3339(at_us), "endpoint_id": endpoint_id}
    return b'%s,"items":[%s]}' % (orjson.dumps(head)[:-1], b",".join(items))


def _shown(entry: "Entry") -> dict[str, Any]:
    return {
        "kind": entry.subject.kind,
        "log_id": entry.log_id,
        "offset": entry.offset,
        "broker_time": to_rfc3339(entry.broker_time_us),
        "event": entry.event(),
    }


def _as_json(entry: "Entry") -> Piece:
    return Piece(b'{"sequence":', _continued(_shown(entry)))


def _as_ocsf(entry: "Entry") -> Piece:
    metadata, rest = as_ocsf(_shown(entry), entry.broker_time_us)
    return Piece(b'{"metadata":{"sequence":', _continued(metadata) + _continued(rest))


def _as_splunk(entry: "Entry") -> Piece:
    around = {
        "time": entry.broker_time_us / 1e6,
        "source": "procurator",
        "sourcetype": f"procurator:{entry.subject.kind}",
        "fields": {"log_id": entry.log_id, "offset": entry.offset},
    }
    return Piece(b'{"event":{"sequence":', _continued(_shown(entry)) + _continued(around))


def _continued(fields: dict[str, Any]) -> bytes:
    """Return fields as they go on after a first one, with the object's end."""
    return b"," + orjson.dumps(fields)[1:]


_WRITERS = {Format.JSON: _as_json, Format.OCSF: _as_ocsf, Format.SPLUNK_HEC: _as_splunk}
