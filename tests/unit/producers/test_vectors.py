"""The vectors are what our code writes, and an implementation that shares nothing with it reads and writes the same."""

import io
import json
from pathlib import Path
from typing import Any

import fastavro
import pytest

from procurator.producers.vectors import vectors

ROOT = Path(__file__).parents[3]
VECTORS = json.loads((ROOT / "docs" / "wire-vectors.json").read_text("utf-8"))


def schema(stem: str) -> Any:
    """Return a schema as anybody would load it, logical types left out: their values are compared raw."""

    def plain(node: Any) -> Any:
        if isinstance(node, dict):
            return {name: plain(item) for name, item in node.items() if name != "logicalType"}
        return [plain(item) for item in node] if isinstance(node, list) else node

    return fastavro.parse_schema(plain(json.loads((ROOT / "avro_schemas" / f"{stem}.avsc").read_text("utf-8"))))


def murmur2(data: bytes) -> int:
    """Return Kafka's hash, written from the algorithm's description: signed 32-bit arithmetic as Java has it."""

    def int32(value: int) -> int:
        value &= 0xFFFFFFFF
        return value - (1 << 32) if value & 0x80000000 else value

    def shifted(value: int, bits: int) -> int:
        return (value & 0xFFFFFFFF) >> bits

    m = 0x5BD1E995
    h = int32(0x9747B28C ^ len(data))
    for block in range(len(data) // 4):
        a, b, c, d = data[4 * block : 4 * block + 4]
        k = int32((a + (b << 8) + (c << 16) + (d << 24)) * m)
        k = int32((k ^ shifted(k, 24)) * m)
        h = int32(int32(h * m) ^ k)
    rest = data[len(data) & ~3 :]
    if len(rest) == 3:
        h ^= rest[2] << 16
    if len(rest) >= 2:
        h ^= rest[1] << 8
    if rest:
        h = int32((h ^ rest[0]) * m)
    h = int32((h ^ shifted(h, 13)) * m)
    return (h ^ shifted(h, 15)) & 0xFFFFFFFF


def as_hex(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {name: as_hex(item) for name, item in value.items()}
    return [as_hex(item) for item in value] if isinstance(value, list | tuple) else value


def test_the_file_is_what_our_code_writes() -> None:
    assert json.loads(json.dumps(vectors())) == VECTORS


@pytest.mark.parametrize(
    ("stem", "name", "vector"),
    [("session_event", "event", vector) for vector in VECTORS["events"]]
    + [("signal", "signal", vector) for vector in VECTORS["signals"]],
    ids=lambda value: value.get("topic") if isinstance(value, dict) else value,
)
def test_another_avro_library_reads_and_writes_the_same(stem: str, name: str, vector: dict[str, Any]) -> None:
    value = bytes.fromhex(vector["value"])
    assert value[:5] == b"\0" + VECTORS["schema_id"].to_bytes(4, "big")
    source = io.BytesIO(value[5:])
    record = fastavro.schemaless_reader(
        source, schema(stem), None, return_record_name=True, return_record_name_override=True
    )
    assert source.read() == b""
    assert as_hex(record) == vector[name]
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema(stem), record)
    assert value[5:] == out.getvalue()


@pytest.mark.parametrize("vector", VECTORS["keys"], ids=lambda vector: vector["key"] or "empty")
def test_another_hash_says_the_same_partition(vector: dict[str, Any]) -> None:
    assert murmur2(vector["key"].encode()) == vector["murmur2"]
    for count, partition in vector["partitions"].items():
        assert (vector["murmur2"] & 0x7FFFFFFF) % int(count) == partition


@pytest.mark.parametrize("vector", VECTORS["sequences"], ids=lambda vector: str(vector["arrived"]))
def test_a_plain_set_says_the_same_of_repeats(vector: dict[str, Any]) -> None:
    seen: set[int] = set()
    said = [number in seen or bool(seen.add(number)) for number in vector["arrived"]]  # type: ignore[func-returns-value]
    assert said == vector["repeated"]


def test_every_kind_of_event_has_a_vector() -> None:
    (payload,) = (field for field in schema("session_event")["fields"] if field["name"] == "payload")
    kinds = {branch["name"] for branch in payload["type"]}
    assert {vector["event"]["payload"][0] for vector in VECTORS["events"]} == kinds
