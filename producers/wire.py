"""Which event some bytes are, for who holds nothing else of it: records that Kafka refused or gave back. Pure.

Source: Apache Avro 1.12, "Binary Encoding". Events are written by `procurator.avro_schemas.encoder`.
"""

from typing import NamedTuple


class Identity(NamedTuple):
    """What an event's Avro begins with, in every version of its schema."""

    event_id: str
    session_id: str
    emitter_id: str
    sequence: int


def identity_of(body: bytes) -> Identity:
    """Return the identity of the event that an `Encoder` wrote."""
    texts, at = [], 0
    for _ in range(3):
        length, at = _read_varint(body, at)
        texts.append(body[at : at + length].decode())
        at += length
    event_id, session_id, emitter_id = texts
    return Identity(event_id, session_id, emitter_id, _read_varint(body, at)[0])


def _read_varint(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = body[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value >> 1 ^ -(value & 1), at
        shift += 7
