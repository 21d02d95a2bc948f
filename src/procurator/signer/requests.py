"""IO: entries that others ask the signer to write: one JSON file each in a folder of the signer's.

The signer alone writes the control log, so a key rotation, a purge, a hold or an erasure is asked for by putting a
file here (`ask`). The signer writes it with its next epoch and removes the file once a checkpoint covers it. The
file's ``event_id`` is the entry's: a crash in between writes it no second time.
"""

import base64
import json
import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from procurator.avro_schemas.codec import load_schema
from procurator.clock import now_us
from procurator.errors import UserError
from procurator.private_files import create_file
from procurator.signer.entries import entry

log = logging.getLogger(__name__)

REQUESTS_MAX = 1000  # taken at once


@dataclass(frozen=True)
class Request:
    """An entry that waits to be written."""

    path: Path
    event_id: str
    kind: str
    payload: dict[str, Any]


def ask(folder: Path, kind: str, payload: Mapping[str, Any]) -> str:
    """Ask for an entry with this payload (raw Avro) and return the id it will have.

    Raises UserError when the payload does not fit its schema.
    """
    event_id = str(uuid.uuid4())
    _check(event_id, kind, payload)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    text = json.dumps({"event_id": event_id, "kind": kind, "payload": _to_json(payload)}, indent=1)
    create_file(folder / f"{now_us():020}-{event_id}.json", text.encode())
    return event_id


def waiting(folder: Path) -> list[Request]:
    """Return the requests in the order in which they were made; a file that is none is put aside."""
    requests = []
    for path in sorted(folder.glob("*.json"))[:REQUESTS_MAX]:
        try:
            stored = json.loads(path.read_text("utf-8"))
            request = Request(path, str(stored["event_id"]), str(stored["kind"]), _from_json(stored["payload"]))
            _check(request.event_id, request.kind, request.payload)
        except (ValueError, KeyError, TypeError, AttributeError, UserError) as error:
            log.error("%s is no request to the signer and was put aside: %s", path, error)
            path.replace(path.with_suffix(".refused"))
            continue
        requests.append(request)
    return requests


def _check(event_id: str, kind: str, payload: Mapping[str, Any]) -> None:
    probe = entry(event_id, now_us(), event_id, kind, payload)
    load_schema("ledger_control").encode(probe, 0)


def _to_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, Mapping):
        return {name: _to_json(item) for name, item in value.items()}
    return [_to_json(item) for item in value] if isinstance(value, list | tuple) else value


def _from_json(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"base64"}:
            return base64.b64decode(value["base64"], validate=True)
        return {name: _from_json(item) for name, item in value.items()}
    return [_from_json(item) for item in value] if isinstance(value, list) else value
