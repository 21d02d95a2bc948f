"""Arrow arrays of columns, fast: whole buffers where a loop over Python objects would cost more. Pure."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

Array = Any
TIMESTAMP = pa.timestamp("us", "UTC")
MONEY = pa.decimal128(38, 18)
STRINGS = pa.list_(pa.string())


def constant(value: str, count: int) -> Array:
    """Return ``count`` times one text."""
    return pa.DictionaryArray.from_arrays(_zeros(count, pa.int32(), 4), pa.array([value], pa.string()))


def constant_time(time_us: int, count: int) -> Array:
    """Return ``count`` times one moment."""
    return pa.repeat(pa.scalar(time_us, TIMESTAMP), count)


def digests(hashes: Sequence[bytes]) -> Array:
    """Return 32-byte hashes."""
    return pa.Array.from_buffers(pa.binary(32), len(hashes), [None, pa.py_buffer(b"".join(hashes))])


def uuids(texts: Sequence[str]) -> Array:
    """Return canonical UUID texts as their 16 bytes, which is how ClickHouse takes UUIDs from Arrow."""
    raw = bytes.fromhex("".join(texts).replace("-", ""))
    return pa.Array.from_buffers(pa.binary(16), len(texts), [None, pa.py_buffer(raw)])


def optional_uuids(texts: Sequence[str | None]) -> Array:
    """Return canonical UUID texts, or nulls, as 16 bytes each."""
    if None not in texts:
        return uuids(texts)  # type: ignore[arg-type]
    return pa.array([None if text is None else bytes.fromhex(text.replace("-", "")) for text in texts], pa.binary(16))


def lists(values: Sequence[Sequence[str]]) -> Array:
    """Return lists of short texts; none of them at all is the common case."""
    if not any(values):
        return pa.ListArray.from_arrays(_zeros(len(values) + 1, pa.int32(), 4), pa.array([], pa.string()))
    return pa.array(values, STRINGS)


def money(values: Sequence[Decimal | None]) -> Array:
    """Return amounts of decimal(38, 18)."""
    return pa.array(values, MONEY)


def concatenated(parts: Sequence[dict[str, Array]]) -> dict[str, Array]:
    """Return the columns of several parts one after the other; a single part is returned as it is."""
    if len(parts) == 1:
        return parts[0]
    return {name: pa.concat_arrays([part[name] for part in parts]) for name in parts[0]}


def ipc_stream(columns: dict[str, Array]) -> memoryview:
    """Return an Arrow stream of one record batch."""
    batch = pa.record_batch(list(columns.values()), names=list(columns))
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, batch.schema) as writer:
        writer.write_batch(batch)
    return memoryview(out.getvalue())


def _zeros(count: int, type_: Any, width_bytes: int) -> Array:
    return pa.Array.from_buffers(type_, count, [None, pa.py_buffer(bytes(count * width_bytes))])
