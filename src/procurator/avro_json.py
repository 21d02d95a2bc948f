"""Raw Avro records as people read them: what a schema's logical types say, as JSON values. Pure.

timestamp-micros become RFC 3339 in UTC, decimals decimal strings, other bytes hexadecimal; a union of records becomes
the record with its type in ``kind``.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import orjson

from procurator.avro_schemas.codec import to_decimal
from procurator.clock import to_rfc3339

Convert = Callable[[Any], Any]


def converter(schema_text: str) -> Convert:
    """Return the function from a raw record of this schema (JSON text) to its JSON values."""
    return _converter(orjson.loads(schema_text), {})


def _instant(us: int) -> str:
    """Return RFC 3339; what is in no calendar stays a number: an emitter may send any, and the entry is to be read."""
    try:
        return to_rfc3339(us)
    except OverflowError:
        return str(us)


def decimal_text(value: Decimal) -> str:
    """Return the shortest text of a money value: no exponent, no zeros at the end."""
    text = format(value, "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def _converter(schema: Any, named: dict[str, Convert]) -> Convert:
    if isinstance(schema, list):
        return _union([(branch, _converter(branch, named)) for branch in schema])
    if isinstance(schema, str):
        return named.get(schema) or _PRIMITIVES.get(schema, _same)
    kind = schema["type"]
    match schema.get("logicalType"), kind:
        case "timestamp-micros", _:
            return _instant
        case "decimal", _:
            return lambda raw: decimal_text(to_decimal(raw))
        case _, "record":
            return _record(schema, named)
        case _, "array":
            each = _converter(schema["items"], named)
            return lambda items: [each(item) for item in items]
        case _, "map":
            value_of = _converter(schema["values"], named)
            return lambda items: {name: value_of(value) for name, value in items.items()}
    convert = _PRIMITIVES.get(kind, _same)
    if "name" in schema:  # enum or fixed
        named[schema["name"]] = convert
    return convert


def _record(schema: dict[str, Any], named: dict[str, Convert]) -> Convert:
    fields = [(field["name"], _converter(field["type"], named)) for field in schema["fields"]]

    def convert(record: dict[str, Any]) -> dict[str, Any]:
        return {name: of(record[name]) for name, of in fields}

    named[schema["name"]] = convert
    return convert


def _union(branches: list[tuple[Any, Convert]]) -> Convert:
    of_values = [(branch, convert) for branch, convert in branches if branch != "null"]
    if len(of_values) == 1:
        [(_, convert_one)] = of_values
        return lambda value: None if value is None else convert_one(value)
    by_name = {branch["name"]: convert for branch, convert in of_values}

    def convert(value: tuple[str, Any] | None) -> dict[str, Any] | None:
        if value is None:
            return None
        full_name, record = value
        name = full_name.rpartition(".")[2]
        return {"kind": name, **by_name[name](record)}

    return convert


def _same(value: Any) -> Any:
    return value


_PRIMITIVES: dict[str, Convert] = {"bytes": bytes.hex, "fixed": bytes.hex}
