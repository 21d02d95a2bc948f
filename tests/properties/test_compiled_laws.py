"""Laws of `procurator.avro_schemas.compiled`: it reads what fastavro reads, and nothing that fastavro does not."""

import io
from functools import cache
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from procurator.avro_schemas.codec import Schema, load_schema, parse_schema
from procurator.avro_schemas.compiled import Reader, compile_reader
from procurator.topics import TOPICS

#: Every kind that a schema of ours could come to use, nested.
EVERYTHING = parse_schema(
    """{"type": "record", "name": "Everything", "fields": [
        {"name": "flag", "type": "boolean"}, {"name": "single", "type": "float"}, {"name": "small", "type": "int"},
        {"name": "raw", "type": "bytes"}, {"name": "nothing", "type": "null"}, {"name": "twice", "type": "double"},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["A", "B"]}},
        {"name": "again", "type": ["null", "Kind"]},
        {"name": "four", "type": {"type": "fixed", "name": "F", "size": 4}},
        {"name": "mixed", "type": ["null", "long", {"type": "array", "items": "string"},
                                   {"type": "map", "values": "int"}]},
        {"name": "either", "type": [{"type": "record", "name": "L", "fields": [{"name": "l", "type": "long"}]},
                                    {"type": "record", "name": "R", "fields": [{"name": "r", "type": "string"}]}]},
        {"name": "tree", "type": {"type": "record", "name": "Tree", "fields": [
            {"name": "children", "type": {"type": "array", "items": "Tree"}}]}}]}"""
)
SCHEMAS = {"everything": EVERYTHING, **{topic.schema: load_schema(topic.schema) for topic in TOPICS}}
names = st.sampled_from(sorted(SCHEMAS))

_KINDS: dict[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32, allow_nan=False),
    "double": st.floats(allow_nan=False),
    "string": st.text(max_size=80),
    "bytes": st.binary(max_size=80),
}


@cache
def reader_of(name: str) -> Reader:
    return compile_reader(SCHEMAS[name].raw)


@cache
def records_of(name: str) -> st.SearchStrategy[Any]:
    named = SCHEMAS[name].raw["__named_schemas"]
    made: dict[str, st.SearchStrategy[Any]] = {}

    def values(schema: Any) -> st.SearchStrategy[Any]:
        schema = named.get(schema, schema) if isinstance(schema, str) else schema
        if isinstance(schema, list):
            return st.one_of([branch(one) for one in schema])
        kind = schema["type"] if isinstance(schema, dict) else schema
        match kind:
            case "record":
                if schema["name"] not in made:
                    fields: dict[str, st.SearchStrategy[Any]] = {}
                    made[schema["name"]] = st.deferred(lambda: st.fixed_dictionaries(fields))
                    fields.update({field["name"]: values(field["type"]) for field in schema["fields"]})
                return made[schema["name"]]
            case "enum":
                return st.sampled_from(schema["symbols"])
            case "fixed":
                return st.binary(min_size=schema["size"], max_size=schema["size"])
            case "array":
                return st.lists(values(schema["items"]), max_size=2)
            case "map":
                return st.dictionaries(st.text(max_size=9), values(schema["values"]), max_size=2)
        return _KINDS[kind]

    def branch(schema: Any) -> st.SearchStrategy[Any]:
        """A union's record says which it is, so that fastavro does not choose another one that fits."""
        schema = named.get(schema, schema) if isinstance(schema, str) else schema
        if isinstance(schema, dict) and schema["type"] == "record":
            return st.tuples(st.just(schema["name"]), values(schema))
        return values(schema)

    return values(SCHEMAS[name].raw)


def by_fastavro(schema: Schema, data: bytes) -> Any:
    """What fastavro makes of all of ``data``; raises when it is not all of one record."""
    source = io.BytesIO(data)
    record = fastavro.schemaless_reader(
        source, schema.raw, None, return_record_name=True, return_record_name_override=True
    )
    if source.tell() != len(data):
        raise ValueError("bytes left")
    return record


def encoded(schema: Schema, record: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema.raw, record)
    return out.getvalue()


@given(names, st.data())
def test_it_reads_what_fastavro_reads(name: str, data: st.DataObject) -> None:
    schema, read = SCHEMAS[name], reader_of(name)
    value = encoded(schema, data.draw(records_of(name)))
    assert read(value, 0) == (by_fastavro(schema, value), len(value))
    assert read(b"12345" + value, 5) == (by_fastavro(schema, value), len(value) + 5)


@given(names, st.data())
def test_hostile_bytes_are_never_read_as_something_else(name: str, data: st.DataObject) -> None:
    schema, read = SCHEMAS[name], reader_of(name)
    value = bytearray(encoded(schema, data.draw(records_of(name))))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(value)))
        value[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    try:
        record, end = read(bytes(value), 0)
    except Exception:  # noqa: BLE001 - which one is of no matter: the decoder rejects the record for any
        return
    if end == len(value):
        # Not every refusal is shared: fastavro takes numbers of any length, for one. What is read is read alike.
        assert repr(record) == repr(by_fastavro(schema, bytes(value)))


@pytest.mark.parametrize("count", [b"\xfe\xff\xff\xff\x0f", b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"])
def test_a_count_beyond_the_bytes_is_refused_before_anything_is_made(count: bytes) -> None:
    schema = parse_schema(
        '{"type": "record", "name": "R", "fields": [{"name": "a", "type": {"type": "array", "items": "null"}}]}'
    )
    with pytest.raises(ValueError, match="^(more items than bytes|a number of more than ten bytes)$"):
        compile_reader(schema.raw)(count, 0)
