"""Confluent framing and Avro, raw: timestamps stay ints (µs), decimals bytes, UUIDs text.

Raw decoding is half again as fast as with logical types, and twice as fast again by readers that are compiled from the
schema (`procurator.avro_schemas.compiled`); and an int of microseconds is what ClickHouse, the leaf hash and the price
function want anyway. `to_decimal` and `from_decimal` convert money.
"""

import io
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from functools import cache
from importlib import resources
from typing import Any

import fastavro

from procurator.avro_schemas.compiled import Reader, compile_reader
from procurator.errors import Rejected, UserError

MAGIC = 0
HEADER = struct.Struct(">bI")
#: Decimal places of every money field.
MONEY_SCALE = 18
#: Wide enough for every decimal(38, 18); the default context would round at 28 digits.
_EXACT = Context(prec=60)

Record = dict[str, Any]


class Undecodable(Rejected):
    """The bytes are no framed Avro of a schema that we can read."""

    reason = "undecodable"


class UnknownSchema(Rejected):
    """The registry answered that it has no schema with this id."""

    reason = "schema_unknown"

    def __init__(self, schema_id: int) -> None:
        super().__init__(f"schema id {schema_id} is not in the registry")
        self.schema_id = schema_id


class SchemaMismatch(Rejected):
    """The record is of another type than this topic carries, or its schema cannot be read with ours."""

    reason = "schema_mismatch"

    def __init__(self, schema_id: int, message: str) -> None:
        super().__init__(f"schema id {schema_id}: {message}")
        self.schema_id = schema_id


@dataclass(frozen=True)
class Schema:
    """One record schema: ``name`` is its full name and its subject in the registry (RecordNameStrategy)."""

    name: str
    text: str
    raw: Any

    def encode(self, record: Mapping[str, Any], schema_id: int) -> bytes:
        """Return the framed bytes of ``record``, whose values are raw.

        Raises UserError when a field is missing or of another type.
        """
        out = io.BytesIO()
        out.write(HEADER.pack(MAGIC, schema_id))
        try:
            fastavro.schemaless_writer(out, self.raw, record)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, UnicodeError) as error:
            raise UserError(f"{self.name}: the record does not fit its schema: {error}") from error
        return out.getvalue()


@cache
def load_schema(file_stem: str) -> Schema:
    """Return the schema in ``<file_stem>.avsc``, for example ``session_event``."""
    text = resources.files("procurator.avro_schemas").joinpath(f"{file_stem}.avsc").read_text("utf-8")
    return parse_schema(text)


def parse_schema(text: str) -> Schema:
    """Return the schema whose JSON is ``text``. Raises ValueError when it is none of a record."""
    document = json.loads(text)
    try:
        parsed = fastavro.parse_schema(_without_logical_types(document))
    except (fastavro.schema.SchemaParseException, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not an Avro schema: {type(error).__name__}: {error}") from error
    if not isinstance(parsed, dict) or parsed.get("type") != "record":
        raise ValueError("not a record schema")
    return Schema(parsed["name"], text, parsed)


class Decoder:
    """Decodes the records of one topic. ``fetch_schema(id)`` returns a schema's JSON text from the registry.

    ``fetch_schema`` raises UnknownSchema when the registry has none (the record is rejected) and Unavailable when the
    registry does not answer (nothing is rejected; decode again later). Schemas are cached for ever: ids are immutable.
    """

    def __init__(self, reader: Schema, fetch_schema: Callable[[int], str]) -> None:
        self._reader = reader
        self._fetch_schema = fetch_schema
        self._read_own = compile_reader(reader.raw)
        # id → what reads the bytes of a value from a position on
        self._readers: dict[int, Reader] = {}

    def decode(self, value: bytes | None) -> Record:
        """Return the raw record in ``value``.

        Unions of several records come as ``(full name, record)``. Raises Undecodable, UnknownSchema or SchemaMismatch
        (all Rejected), or Unavailable.
        """
        if value is None or len(value) < HEADER.size:
            raise Undecodable("no value" if value is None else f"{len(value)} bytes are too short for a header")
        magic, schema_id = HEADER.unpack_from(value)
        if magic != MAGIC:
            raise Undecodable(f"first byte is {magic & 0xFF:#04x}, not 0x00: no Confluent framing")
        read = self._readers.get(schema_id) or self._resolve(schema_id)
        try:
            record, end = read(value, HEADER.size)
        except UnicodeDecodeError as error:
            raise Undecodable(f"a string is not UTF-8: {error.reason}") from error
        # Whatever a reader trips over on hostile bytes (a dozen types), the record is at fault, not we.
        except Exception as error:
            raise Undecodable(f"not Avro of schema id {schema_id}: {type(error).__name__}: {error}") from error
        if end != len(value):
            missing, left = end - len(value), len(value) - end
            raise Undecodable(f"{left} bytes after the record" if left > 0 else f"{missing} bytes of it are missing")
        return record  # type: ignore[no-any-return]

    def _resolve(self, schema_id: int) -> Reader:
        text = self._fetch_schema(schema_id)
        try:
            writer = parse_schema(text)
        except (ValueError, KeyError, TypeError, fastavro.schema.SchemaParseException) as error:
            raise SchemaMismatch(schema_id, f"not an Avro record schema: {error}") from error
        if writer.name != self._reader.name:
            raise SchemaMismatch(schema_id, f"{writer.name} where {self._reader.name} belongs")
        read = self._read_own if writer.raw == self._reader.raw else _resolving_reader(writer.raw, self._reader.raw)
        self._readers[schema_id] = read
        return read


def _resolving_reader(writer: Any, reader: Any) -> Reader:
    """Return what reads records of another version of the schema, by Avro's rules of schema resolution."""

    def read(value: bytes, at: int) -> tuple[Any, int]:
        source = io.BytesIO(value)
        source.seek(at)
        record = fastavro.schemaless_reader(
            source, writer, reader, return_record_name=True, return_record_name_override=True
        )
        return record, source.tell()

    return read


def to_decimal(raw: bytes) -> Decimal:
    """Return the money value of Avro's unscaled big-endian bytes."""
    return Decimal(int.from_bytes(raw, "big", signed=True)).scaleb(-MONEY_SCALE, _EXACT)


def from_decimal(value: Decimal) -> bytes:
    """Return Avro's bytes of a money value. Raises ValueError beyond 38 digits or finer than 10^-18."""
    unscaled = value.scaleb(MONEY_SCALE, _EXACT)
    integral = int(unscaled)
    if integral != unscaled or abs(integral) >= 10**38:
        raise ValueError(f"{value} does not fit decimal(38, {MONEY_SCALE})")
    return integral.to_bytes((integral.bit_length() + 8) // 8, "big", signed=True)


def _without_logical_types(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {k: _without_logical_types(v) for k, v in schema.items() if k not in ("logicalType", "doc")}
    if isinstance(schema, list):
        return [_without_logical_types(item) for item in schema]
    return schema
