"""The leaf's bytes, pinned: whoever changes them makes every ledger that exists unverifiable."""

import struct
from collections.abc import Callable
from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest
from confluent_kafka import Uuid
from hypothesis import given, settings
from hypothesis import strategies as st

from procurator import leaf
from procurator.leaf import LeafError, entry_leaf_hash, leaf_data, leaf_hashes, log_id, parse_log_id
from procurator.merkle import leaf_hash

TOPIC = UUID("0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d")
LOG = f"{TOPIC}:3"
TIME_US = 1_700_000_000_123_456

offsets = st.integers(-(2**63), 2**63 - 1)
optional_bytes = st.none() | st.binary(max_size=40)
entries = st.lists(st.tuples(offsets, offsets, optional_bytes, optional_bytes), max_size=8)

VECTORS = [
    # log id, leaf index, offset, broker time, key, value, leaf hash
    (LOG, 0, 0, 0, None, None, "36cd193f739fbb4eda332a7a8db56029009d73c04b8784c8739c173b964f0983"),
    (LOG, 0, 0, 0, b"", b"", "babec6be621f148b7d296d10a68848d89b6ea850eb948626d4ecadb0b2f72a99"),
    (
        LOG,
        7,
        9,
        TIME_US,
        b"session",
        b'{"role":"USER"}',
        "411ae6aa910389bf91802a3035ad43fcbe8d4476e4fe38635876f2cc1820ed9a",
    ),
    (
        LOG,
        2**64 - 1,
        -1,
        -1,
        b"\x00\xff",
        b"\x00" * 1_000_000,
        "7cbab0adcf97cebd8951a980bb50e24ecbb08f6091acd651422244f0ec2d9ae2",
    ),
]


@pytest.mark.parametrize(("log", "index", "offset", "time_us", "key", "value", "expected"), VECTORS)
def test_vectors(
    log: str, index: int, offset: int, time_us: int, key: bytes | None, value: bytes | None, expected: str
) -> None:
    assert entry_leaf_hash(log, index, offset, time_us, key, value).hex() == expected
    assert leaf_hash(leaf_data(log, index, offset, time_us, key, value)).hex() == expected
    assert leaf_hashes(log, index, [offset], [time_us], [key], [value])[0].hex() == expected


def test_layout_as_documented() -> None:
    key, value = b"session", b"value"
    assert leaf_data(LOG, 7, 9, TIME_US, key, value) == b"".join(
        [
            b"PSL1",
            struct.pack(">I", 38),
            LOG.encode(),
            struct.pack(">Q", 7),
            struct.pack(">q", 9),
            struct.pack(">q", TIME_US),
            b"\x01",
            struct.pack(">I", 7),
            key,
            b"\x01",
            sha256(value).digest(),
        ]
    )
    assert leaf_data(LOG, 7, 9, TIME_US, None, None)[-2:] == b"\x00\x00"


def test_an_erased_value_leaves_the_leaf_as_it_was() -> None:
    digest = sha256(b"to be erased").digest()
    erased = leaf.leaf_data_of_digest(LOG, 7, 9, TIME_US, b"session", digest)
    assert erased == leaf_data(LOG, 7, 9, TIME_US, b"session", b"to be erased")


@settings(deadline=None)
@given(st.integers(0, 2**63), entries)
def test_the_batch_is_one_by_one(first: int, rows: list[tuple[int, int, bytes | None, bytes | None]]) -> None:
    columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], [], []]
    one_by_one = [entry_leaf_hash(LOG, first + place, *row) for place, row in enumerate(rows)]
    assert leaf_hashes(LOG, first, *columns) == one_by_one


@settings(deadline=None)
@given(st.tuples(st.integers(0, 2**64 - 1), offsets, offsets, optional_bytes, optional_bytes))
def test_leaf_data_can_be_read_back(entry: tuple[int, int, int, bytes | None, bytes | None]) -> None:
    """Injective, since a reader that knows only the layout gets every field again."""
    index, offset, time_us, key, value = entry
    data = leaf_data(LOG, *entry)
    assert data[:4] == b"PSL1"
    name_end = 8 + struct.unpack_from(">I", data, 4)[0]
    assert data[8:name_end].decode() == LOG
    *place, has_key = struct.unpack_from(">QqqB", data, name_end)
    assert place == [index, offset, time_us]
    at = name_end + 25
    if has_key:
        length = struct.unpack_from(">I", data, at)[0]
        assert data[at + 4 : at + 4 + length] == key
        at += 4 + length
    else:
        assert key is None
    assert data[at:] == (b"\x00" if value is None else b"\x01" + sha256(value).digest())


def test_log_id_takes_a_topic_id_in_every_form_kafka_gives() -> None:
    high, low = TOPIC.int >> 64, TOPIC.int & 2**64 - 1
    kafka = Uuid(high - 2**64 if high >= 2**63 else high, low - 2**64 if low >= 2**63 else low)
    assert {log_id(form, 3) for form in (TOPIC, str(TOPIC), str(TOPIC).upper(), kafka, str(kafka))} == {LOG}


@settings(deadline=None)
@given(st.uuids(), st.integers(0, 2**31 - 1))
def test_parse_log_id_is_the_inverse(topic_id: UUID, partition: int) -> None:
    assert parse_log_id(log_id(topic_id, partition)) == (topic_id, partition)


OUT_OF_RANGE = f"leaf index, offset, broker time or key of an entry of {LOG} is out of range"
REFUSALS: list[tuple[Callable[..., Any], tuple[Any, ...], str]] = [
    (log_id, ("orders", 3), "not a topic id: 'orders'"),
    (log_id, (TOPIC.hex, 3), f"not a topic id: '{TOPIC.hex}'"),
    (log_id, ("D51qjlLRSo6cGzp9HwssTR", 3), "not a topic id: 'D51qjlLRSo6cGzp9HwssTR'"),
    (log_id, (TOPIC, -1), "partition must be an integer from 0 to 2147483647"),
    (log_id, (TOPIC, 2**31), "partition must be an integer from 0 to 2147483647"),
    (parse_log_id, (f"{TOPIC}:03",), f"not a log id (topic id, colon, partition): '{TOPIC}:03'"),
    (parse_log_id, (f"{TOPIC}:9999999999",), f"not a log id (topic id, colon, partition): '{TOPIC}:9999999999'"),
    (parse_log_id, (f"{LOG}\n",), f"not a log id (topic id, colon, partition): '{LOG}\\n'"),
    (leaf_data, (LOG, -1, 0, 0, None, None), OUT_OF_RANGE),
    (leaf_data, (LOG, 0, 2**63, 0, None, None), OUT_OF_RANGE),
    (leaf.leaf_data_of_digest, (LOG, 0, 0, 0, None, b"short"), "a value digest has 32 bytes, not 5"),
    (leaf_hashes, (LOG, 4, [0, 2**63], [0, 0], [None] * 2, [None] * 2), OUT_OF_RANGE),
    (leaf_hashes, (LOG, 4, [0, 1], [0], [None] * 2, [None] * 2), f"the columns of entries of {LOG} differ in length"),
]


@pytest.mark.parametrize(("call", "arguments", "message"), REFUSALS)
def test_refusals(call: Callable[..., Any], arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(LeafError) as caught:
        call(*arguments)
    assert str(caught.value) == message
