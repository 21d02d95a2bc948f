"""Every current schema reads whatever was written with any released one (copies: tests/released_schemas)."""

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from procurator.avro_schemas.codec import Decoder, Schema, SchemaMismatch, Undecodable, load_schema, parse_schema

RELEASES = Path(__file__).parents[2] / "released_schemas"
COPIES = sorted(RELEASES.glob("*/*.avsc"))
DEPTH_MAX = 4
PRIMITIVES: Mapping[str, Any] = {
    "null": lambda _rng: None,
    "boolean": lambda rng: rng.random() < 0.5,
    "int": lambda rng: rng.randrange(-(2**31), 2**31),
    "long": lambda rng: rng.randrange(-(2**63), 2**63),
    "float": lambda rng: float(rng.randrange(1_000)),
    "double": lambda rng: rng.random(),
    "string": lambda rng: "grüße 你好"[: rng.randrange(9)],
    "bytes": lambda rng: rng.randbytes(rng.randrange(17)),
}


def generated(schema: Any, rng: random.Random, named: Mapping[str, Any], depth: int = 0) -> Any:
    """Return a value of a parsed schema; records within themselves end at some depth."""
    if isinstance(schema, list):
        branch = schema[0] if depth > DEPTH_MAX and "null" in schema else rng.choice(schema)
        value = generated(branch, rng, named, depth + 1)
        return (branch["name"], value) if isinstance(branch, dict) and branch["type"] == "record" else value
    if isinstance(schema, str):
        return PRIMITIVES[schema](rng) if schema in PRIMITIVES else generated(named[schema], rng, named, depth)
    kind = schema["type"]
    if kind == "record":
        return {field["name"]: generated(field["type"], rng, named, depth + 1) for field in schema["fields"]}
    if kind == "enum":
        return rng.choice(schema["symbols"])
    if kind == "fixed":
        return rng.randbytes(schema["size"])
    if kind in ("array", "map"):
        count = 0 if depth > DEPTH_MAX else rng.randrange(3)
        items = [
            generated(schema["items" if kind == "array" else "values"], rng, named, depth + 1) for _ in range(count)
        ]
        return items if kind == "array" else {str(n): item for n, item in enumerate(items)}
    return generated(kind, rng, named, depth)


def record_of(schema: Schema, seed: int) -> dict[str, Any]:
    record: dict[str, Any] = generated(schema.raw, random.Random(seed), schema.raw["__named_schemas"])
    return record


@pytest.mark.parametrize("copy", COPIES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_a_release_wrote_can_be_read(copy: Path) -> None:
    writer = parse_schema(copy.read_text("utf-8"))
    decoder = Decoder(load_schema(copy.stem), lambda _schema_id: writer.text)
    for seed in range(100):
        written = record_of(writer, seed)
        read = decoder.decode(writer.encode(written, 1))
        assert read.keys() == {field["name"] for field in load_schema(copy.stem).raw["fields"]}


def test_every_released_schema_still_exists() -> None:
    assert COPIES, "tests/released_schemas has the schemas of each release"
    for copy in COPIES:
        assert parse_schema(copy.read_text("utf-8")).name == load_schema(copy.stem).name


def _without_default(document: dict[str, Any]) -> None:
    document["fields"].append({"name": "new", "type": "string"})


def _of_another_type(document: dict[str, Any]) -> None:
    document["fields"][3]["type"] = "boolean"


@pytest.mark.parametrize("change", [_without_default, _of_another_type])
def test_a_change_that_breaks_reading_is_noticed(change: Any) -> None:
    writer = load_schema("session_event")
    document = json.loads(writer.text)
    change(document)
    decoder = Decoder(parse_schema(json.dumps(document)), lambda _schema_id: writer.text)
    with pytest.raises((SchemaMismatch, Undecodable)):
        decoder.decode(writer.encode(record_of(writer, 0), 1))
