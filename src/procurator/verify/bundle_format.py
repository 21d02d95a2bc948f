"""A session's bundle: what the file holds, and reading one that a stranger made. Pure.

JSON, UTF-8, one object; docs/ledger.md has the format. Every field must be there and no other may be; byte strings
are canonical base64; nothing is compressed and nothing names a file. Errors: ``BundleError`` and nothing else.
"""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from procurator.errors import ProcuratorError
from procurator.leaf import LeafError, entry_leaf_hash, parse_log_id
from procurator.merkle import HASH_BYTES, SIZE_MAX

FORMAT = "procurator-session-bundle/1"
BUNDLE_BYTES_MAX = 512 * 1024 * 1024
ENTRIES_MAX = 200_000
LOGS_MAX = 1_024
DEPTH_MAX = 8

_NUMBERS = ("leaf_index", "offset", "broker_time_us")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)


class BundleError(ProcuratorError):
    """The file is no bundle: malformed, cut short, oversized or of another version."""


@dataclass(frozen=True, slots=True)
class BundleEntry:
    """A record as it stood in Kafka, and its place in its log's tree."""

    leaf_index: int
    offset: int
    broker_time_us: int
    key: bytes | None
    value: bytes | None

    def leaf_hash(self, log_id: str) -> bytes:
        """Return its leaf hash. Raises BundleError for numbers that no leaf has."""
        try:
            return entry_leaf_hash(log_id, self.leaf_index, self.offset, self.broker_time_us, self.key, self.value)
        except LeafError as error:
            raise BundleError(str(error)) from None


@dataclass(frozen=True, slots=True)
class BundleLog:
    """Entries of one log, ascending, and one proof that they are among its first ``size`` leaves."""

    log_id: str
    size: int
    entries: tuple[BundleEntry, ...]
    proof: tuple[bytes, ...]

    @property
    def indexes(self) -> list[int]:
        return [entry.leaf_index for entry in self.entries]

    def leaf_hashes(self) -> list[bytes]:
        return [entry.leaf_hash(self.log_id) for entry in self.entries]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A session's entries, the control entries that say what they are part of, and the signed checkpoint."""

    session_id: str
    checkpoint: bytes
    control: BundleLog
    logs: tuple[BundleLog, ...]


def render(bundle: Bundle) -> bytes:
    """Return the bytes of a bundle's file."""
    document = {
        "format": FORMAT,
        "session_id": bundle.session_id,
        "checkpoint": bundle.checkpoint.decode(),
        "control": _log_document(bundle.control),
        "logs": [_log_document(log) for log in bundle.logs],
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def parse(data: bytes) -> Bundle:
    """Return the bundle in a file's bytes."""
    if len(data) > BUNDLE_BYTES_MAX:
        raise BundleError(f"{len(data)} bytes are more than a bundle may have ({BUNDLE_BYTES_MAX})")
    document = _object("bundle", load_document(data), ("format", "session_id", "checkpoint", "control", "logs"))
    if document["format"] != FORMAT:
        raise BundleError(f"format is not {FORMAT!r}")
    session_id, checkpoint = document["session_id"], document["checkpoint"]
    if type(session_id) is not str or not _UUID.fullmatch(session_id):
        raise BundleError("session_id is no UUID in lower case")
    if type(checkpoint) is not str:
        raise BundleError("checkpoint is no text")
    try:
        note = checkpoint.encode()
    except UnicodeEncodeError:
        raise BundleError("checkpoint is no text that UTF-8 can carry") from None
    logs = tuple(_log(f"logs[{at}]", log) for at, log in enumerate(_list("logs", document["logs"], LOGS_MAX)))
    ids = [log.log_id for log in logs]
    if ids != sorted(set(ids)):
        raise BundleError("logs are not one each, in the order of their ids")
    return Bundle(session_id, note, _log("control", document["control"]), logs)


def load_document(data: bytes, floats: bool = False) -> Any:
    """Return the JSON in a stranger's file: of bounded depth, no name twice, integers alone unless ``floats``."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise BundleError(f"not UTF-8 at byte {error.start}") from None
    depth = deepest = 0
    for token in re.finditer(r'"(?:[^"\\]|\\.)*"|[\[{\]}]', text):
        first = token[0][:1]
        if first in "[{":
            depth += 1
            deepest = max(deepest, depth)
            if deepest > DEPTH_MAX:
                raise BundleError(f"nested deeper than {DEPTH_MAX}")
        elif first in "]}":
            depth -= 1
    try:
        number = float if floats else _refuse
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse, parse_float=number)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"not JSON: {str(error)[:100]}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _refuse(text: str) -> Any:
    raise ValueError(f"{text[:20]} is no integer")


def _object(what: str, value: Any, names: Sequence[str]) -> Mapping[str, Any]:
    if type(value) is not dict or value.keys() != set(names):
        raise BundleError(f"{what} must be an object of exactly {', '.join(names)}")
    return value


def _list(what: str, value: Any, maximum: int) -> list[Any]:
    if type(value) is not list or len(value) > maximum:
        raise BundleError(f"{what} must be a list of at most {maximum}")
    return value


def _log(what: str, value: Any) -> BundleLog:
    log = _object(what, value, ("log_id", "size", "entries", "proof"))
    try:
        parse_log_id(log["log_id"] if type(log["log_id"]) is str else "")
    except LeafError as error:
        raise BundleError(f"{what}: {error}") from None
    entries = tuple(
        _entry(f"{what}.entries[{at}]", entry)
        for at, entry in enumerate(_list(f"{what}.entries", log["entries"], ENTRIES_MAX))
    )
    indexes = [entry.leaf_index for entry in entries]
    if not indexes or indexes != sorted(set(indexes)):
        raise BundleError(f"{what}.entries must be there and ascend in leaf_index")
    proof = tuple(
        _bytes(f"{what}.proof", node) or b"" for node in _list(f"{what}.proof", log["proof"], ENTRIES_MAX * 64)
    )
    if any(len(node) != HASH_BYTES for node in proof):
        raise BundleError(f"{what}.proof must be hashes of {HASH_BYTES} bytes")
    return BundleLog(log["log_id"], _number(f"{what}.size", log["size"]), entries, proof)


def _entry(what: str, value: Any) -> BundleEntry:
    entry = _object(what, value, (*_NUMBERS, "key", "value"))
    index, offset, time_us = (_number(f"{what}.{name}", entry[name]) for name in _NUMBERS)
    return BundleEntry(
        index, offset, time_us, _bytes(f"{what}.key", entry["key"]), _bytes(f"{what}.value", entry["value"])
    )


def _number(what: str, value: Any) -> int:
    if type(value) is not int or not 0 <= value <= SIZE_MAX:
        raise BundleError(f"{what} must be an integer from 0 to 2^63 - 1")
    return value


def _bytes(what: str, value: Any) -> bytes | None:
    if value is None:
        return None
    try:
        decoded = b64decode(value, validate=True) if type(value) is str else None
    except ValueError:
        decoded = None
    if decoded is None or b64encode(decoded).decode() != value:
        raise BundleError(f"{what} must be null or canonical base64")
    return decoded


def _log_document(log: BundleLog) -> dict[str, Any]:
    return {
        "log_id": log.log_id,
        "size": log.size,
        "entries": [
            {
                "leaf_index": entry.leaf_index,
                "offset": entry.offset,
                "broker_time_us": entry.broker_time_us,
                "key": None if entry.key is None else b64encode(entry.key).decode(),
                "value": None if entry.value is None else b64encode(entry.value).decode(),
            }
            for entry in log.entries
        ],
        "proof": [b64encode(node).decode() for node in log.proof],
    }
