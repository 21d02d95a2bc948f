"""What a ledger entry's leaf is: the bytes that are hashed, exactly. Pure.

An entry is a record as it stands in Kafka. Its *leaf data* is this concatenation (integers big-endian)::

    bytes  field
    4      the ASCII bytes "PSL1" (Procurator Sessions leaf, version 1)
    4      length of the log id in bytes, unsigned
    n      log id, UTF-8
    8      leaf index, unsigned: the entry's place in its log's tree, from 0, without holes
    8      offset in Kafka, signed
    8      broker time in microseconds since 1970-01-01T00:00:00Z, signed
    1      0x01 when the record has a key, 0x00 when its key is null
    4      length of the key in bytes, unsigned   (only when it has a key)
    k      key                                    (only when it has a key)
    1      0x01 when the record has a value, 0x00 when its value is null
    32     SHA-256 of the value's exact bytes     (only when it has a value)

and its *leaf hash* is SHA-256(0x00 || leaf data), as RFC 6962 has it. Every field has a fixed length or carries
its length, so no two entries have the same data. The digest stands for the value so that the value's bytes can
be erased while the tree still verifies.

A *log id* is the canonical text of Kafka's topic id (36 characters, lower case), a colon and the partition's
decimal number: ``0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d:3``. A recreated topic has another topic id, so it is
another log.
"""

import re
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterable
from functools import lru_cache
from hashlib import sha256
from struct import Struct, error
from typing import Protocol
from uuid import UUID

from procurator.errors import ProcuratorError

TAG = b"PSL1"
VALUE_DIGEST_BYTES = 32
PARTITION_MAX = 2**31 - 1

_LENGTH = Struct(">I")
_PLACE = Struct(">QqqB")  # leaf index, offset, broker time, key flag 0
_PLACE_AND_KEY = Struct(">QqqBI")  # the same with key flag 1 and the key's length
_LOG_ID = re.compile(r"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}):(0|[1-9][0-9]{0,9})", re.ASCII)
_KAFKA_UUID = re.compile(r"[A-Za-z0-9_-]{21}[AQgw]", re.ASCII)  # 22 characters of which 4 bits must be zero


class LeafError(ProcuratorError):
    """A log id that is none, or a field of an entry that does not fit its place in the leaf."""


class KafkaUuid(Protocol):
    """How confluent-kafka gives a topic id: two signed halves."""

    def get_most_significant_bits(self) -> int: ...

    def get_least_significant_bits(self) -> int: ...


def log_id(topic_id: str | UUID | KafkaUuid, partition: int) -> str:
    """The id of one partition's log. ``topic_id`` is UUID text, Kafka's own text of 22 characters, or an object."""
    if type(partition) is not int or not 0 <= partition <= PARTITION_MAX:
        raise LeafError(f"partition must be an integer from 0 to {PARTITION_MAX}")
    return f"{_uuid(topic_id)}:{partition}"


def parse_log_id(text: str) -> tuple[UUID, int]:
    """Topic id and partition. Only what ``log_id`` writes is taken: parse, then write, is the identity."""
    match = _LOG_ID.fullmatch(text)
    if match is None or int(match[2]) > PARTITION_MAX:
        raise LeafError(f"not a log id (topic id, colon, partition): {text[:80]!r}")
    return UUID(match[1]), int(match[2])


def leaf_data(
    log_id: str, leaf_index: int, offset: int, broker_time_us: int, key: bytes | None, value: bytes | None
) -> bytes:
    """The bytes that stand for one entry in its log's tree; the layout is at the top of this module."""
    digest = None if value is None else sha256(value).digest()
    return leaf_data_of_digest(log_id, leaf_index, offset, broker_time_us, key, digest)


def leaf_data_of_digest(
    log_id: str,
    leaf_index: int,
    offset: int,
    broker_time_us: int,
    key: bytes | None,
    value_digest: bytes | None,
) -> bytes:
    """The same for an entry whose value was erased: its SHA-256 is given, ``None`` for a null value."""
    if value_digest is not None and len(value_digest) != VALUE_DIGEST_BYTES:
        raise LeafError(f"a value digest has {VALUE_DIGEST_BYTES} bytes, not {len(value_digest)}")
    try:
        if key is None:
            place = _PLACE.pack(leaf_index, offset, broker_time_us, 0)
        else:
            place = _PLACE_AND_KEY.pack(leaf_index, offset, broker_time_us, 1, len(key)) + key
    except error:
        raise LeafError(f"leaf index, offset, broker time or key of an entry of {log_id} is out of range") from None
    return _prefix(log_id) + place + (b"\x00" if value_digest is None else b"\x01" + value_digest)


def entry_leaf_hash(
    log_id: str, leaf_index: int, offset: int, broker_time_us: int, key: bytes | None, value: bytes | None
) -> bytes:
    """The RFC 6962 leaf hash of one entry."""
    return sha256(b"\x00" + leaf_data(log_id, leaf_index, offset, broker_time_us, key, value)).digest()


def leaf_hashes(
    log_id: str,
    first_leaf_index: int,
    offsets: Iterable[int],
    broker_times_us: Iterable[int],
    keys: Iterable[bytes | None],
    values: Iterable[bytes | None],
) -> list[bytes]:
    """``entry_leaf_hash`` of many entries of one log: the sink's hot path.

    Their leaf indices follow one another from ``first_leaf_index``; the four columns must be of one length.
    """
    prefix = b"\x00" + _prefix(log_id)
    hashes = []
    index, key_bytes, pack = first_leaf_index, 0, _packer(len(prefix), 0)
    try:
        for offset, time_us, key, value in zip(offsets, broker_times_us, keys, values, strict=True):
            if key is None or value is None:
                data = b"\x00" + leaf_data(log_id, index, offset, time_us, key, value)
            else:
                if len(key) != key_bytes:  # seldom: nearly all keys of a log are of one length
                    key_bytes = len(key)
                    pack = _packer(len(prefix), key_bytes)
                data = pack(prefix, index, offset, time_us, 1, key_bytes, key, 1, sha256(value).digest())
            hashes.append(sha256(data).digest())
            index += 1
    except error:
        raise LeafError(f"leaf index, offset, broker time or key of an entry of {log_id} is out of range") from None
    except ValueError:  # zip's own
        raise LeafError(f"the columns of entries of {log_id} differ in length") from None
    return hashes


@lru_cache(maxsize=256)
def _packer(prefix_bytes: int, key_bytes: int) -> Callable[..., bytes]:
    """Packs a whole leaf at once, which is faster than joining its parts."""
    return Struct(f">{prefix_bytes}sQqqBI{key_bytes}sB{VALUE_DIGEST_BYTES}s").pack


def _prefix(log_id: str) -> bytes:
    name = log_id.encode()
    return TAG + _LENGTH.pack(len(name)) + name


def _uuid(topic_id: str | UUID | KafkaUuid) -> UUID:
    if isinstance(topic_id, UUID):
        return topic_id
    if not isinstance(topic_id, str):
        halves = topic_id.get_most_significant_bits(), topic_id.get_least_significant_bits()
        return UUID(int=(halves[0] % 2**64 << 64) | halves[1] % 2**64)
    if _KAFKA_UUID.fullmatch(topic_id):
        return UUID(bytes=urlsafe_b64decode(topic_id + "=="))
    try:
        parsed = UUID(topic_id)
    except ValueError:
        parsed = None
    if parsed is None or str(parsed) != topic_id.lower():
        raise LeafError(f"not a topic id: {topic_id[:80]!r}")
    return parsed
