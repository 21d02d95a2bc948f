"""The bytes of a spool segment: a head, then one frame an event. Pure.

::

    segment = head frame*
    head    = "PRCSPL01" u32(length) u32(crc) json       crc over the JSON; it names what the frames need to be sent
    frame   = u32(length) u32(crc) u16(key length) key body        length and crc over what follows them

Numbers are big-endian, checksums CRC-32 (zlib's). ``body`` is a record's Avro without the header of the wire: which id
the registry has for its schema is asked when it is sent. A process may die, or a disk fail, in the midst of a frame:
`scan` gives every frame before the first that is not whole, and says where it stopped and why.
"""

import json
import struct
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from procurator.topics import MESSAGE_BYTES_MAX

#: (key, body) of one record.
Record = tuple[bytes, bytes]

MAGIC = b"PRCSPL01"
_HEAD = struct.Struct(">II")
_FRAME = struct.Struct(">IIH")
_CHECKED_FROM = 8
_KEY_LENGTH = 2


@dataclass(frozen=True, slots=True)
class Head:
    """What a segment says about its frames: the schema that wrote them, and the cluster they are for."""

    schema: str
    cluster: str

    def encode(self) -> bytes:
        """Return the bytes that a segment begins with."""
        text = json.dumps(asdict(self)).encode()
        return MAGIC + _HEAD.pack(len(text), zlib.crc32(text)) + text


@dataclass(frozen=True, slots=True)
class Scan:
    """What a segment holds: ``end`` is the first byte after the last whole frame, ``problem`` why it is not the last.

    ``head`` is None when not even that can be read.
    """

    head: Head | None
    records: list[Record]
    end: int
    problem: str | None


def frame(record: Record) -> bytes:
    """Return the frame of one record."""
    key, body = record
    checked = len(key).to_bytes(_KEY_LENGTH, "big") + key + body
    return _HEAD.pack(len(checked), zlib.crc32(checked)) + checked


def frames(records: Iterable[Record]) -> bytes:
    """Return the frames of records, one after the other."""
    return b"".join(map(frame, records))


def scan(data: bytes) -> Scan:
    """Read a segment as far as it is whole; hostile bytes raise nothing."""
    head, at = _head(data)
    if head is None:
        return Scan(None, [], 0, "it does not begin as a segment does")
    records: list[Record] = []
    size = len(data)
    while at < size:
        problem = _frame(data, at, records)
        if problem is not None:
            return Scan(head, records, at, problem)
        at += _CHECKED_FROM + int.from_bytes(data[at : at + 4], "big")
    return Scan(head, records, at, None)


def _head(data: bytes) -> tuple[Head | None, int]:
    start = len(MAGIC) + _HEAD.size
    if len(data) < start or not data.startswith(MAGIC):
        return None, 0
    length, crc = _HEAD.unpack_from(data, len(MAGIC))
    text = data[start : start + length]
    if len(text) < length or zlib.crc32(text) != crc:
        return None, 0
    try:
        return Head(**json.loads(text)), start + length
    except (ValueError, TypeError):  # Written by another version, in a way that this one does not know.
        return None, 0


def _frame(data: bytes, at: int, records: list[Record]) -> str | None:
    """Add the record of the frame at ``at``; return what is wrong with it."""
    if len(data) - at < _FRAME.size:
        return "it ends within a frame"
    length, crc, key_length = _FRAME.unpack_from(data, at)
    # A hole in a file reads as zeros, whose checksum is right: no frame is that short.
    if not _KEY_LENGTH + key_length <= length <= 2 * MESSAGE_BYTES_MAX or length <= _KEY_LENGTH:
        return "a frame's length cannot be right"
    checked = data[at + _CHECKED_FROM : at + _CHECKED_FROM + length]
    if len(checked) < length:
        return "it ends within a frame"
    if zlib.crc32(checked) != crc:
        return "a frame's checksum is wrong"
    body_at = _KEY_LENGTH + key_length
    records.append((checked[_KEY_LENGTH:body_at], checked[body_at:]))
    return None
