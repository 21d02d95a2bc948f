"""The compiled encoder writes byte for byte what the general one writes, and refuses what it refuses."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procurator.avro_schemas.codec import HEADER, MAGIC, load_schema
from procurator.avro_schemas.encoder import Encoder
from procurator.errors import UserError
from procurator.producers.wire import identity_of

SCHEMA = load_schema("session_event")
ENCODER = Encoder(SCHEMA)
#: Where the length takes another byte.
LONG = ["a" * 63, "a" * 64, "é" * 4095, "é" * 4096, "a" * 8191, "漢" * 100_000]


def values(schema: Any, named: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """Return a strategy of the raw values of an Avro schema."""
    primitives: dict[str, st.SearchStrategy[Any]] = {
        "null": st.none(),
        "boolean": st.booleans(),
        "int": st.integers(-(2**31), 2**31 - 1),
        "long": st.integers(-(2**63), 2**63 - 1) | st.integers(8000, 8300),
        "double": st.floats(),
        "bytes": st.binary(max_size=8),
        "string": st.text(max_size=6) | st.sampled_from(LONG),
    }
    if isinstance(schema, str):
        return named[schema] if schema in named else primitives[schema]
    if isinstance(schema, list):
        if schema[0] == "null":
            return st.none() | values(schema[1], named)
        return st.one_of([st.tuples(st.just(branch["name"]), values(branch, named)) for branch in schema])
    match schema["type"]:
        case "record":
            # What has a default may be left out, but for bytes: their default is text, which the general one refuses.
            fields = {field["name"]: values(field["type"], named) for field in schema["fields"]}
            optional = {f["name"] for f in schema["fields"] if "default" in f and "bytes" not in str(f["type"])}
            found: st.SearchStrategy[Any] = st.fixed_dictionaries(
                {name: value for name, value in fields.items() if name not in optional},
                optional={name: value for name, value in fields.items() if name in optional},
            )
        case "enum":
            found = st.sampled_from(schema["symbols"])
        case "fixed":
            found = st.binary(min_size=schema["size"], max_size=schema["size"])
        case "array":
            return st.lists(values(schema["items"], named), max_size=3)
        case "map":
            return st.dictionaries(st.text(max_size=5), values(schema["values"], named), max_size=3)
        case other:
            return values(other, named)
    named[schema["name"]] = found
    return found


@given(values(SCHEMA.raw, {}))
def test_both_encoders_write_the_same_bytes(record: dict[str, Any]) -> None:
    body = ENCODER.encode(record)
    assert HEADER.pack(MAGIC, 7) + body == SCHEMA.encode(record, 7)
    assert identity_of(body) == (record["event_id"], record["session_id"], record["emitter_id"], record["sequence"])


@pytest.mark.parametrize("name", ["session_state", "budget_spend"])
@given(data=st.data())
def test_so_they_do_for_what_the_stream_processors_publish(name: str, data: st.DataObject) -> None:
    schema = load_schema(name)
    record = data.draw(values(schema.raw, {}))
    assert Encoder(schema, 7).encode(record) == schema.encode(record, 7)


@pytest.mark.parametrize(
    "changed",
    [
        {"session_id": 5},
        {"session_id": "half \ud800"},
        {"sequence": "1"},
        {"sequence": 2**64},
        {"nonce": b"short"},
        {"payload": ("procurator.v1.Nothing", {})},
        {"payload": ("procurator.v1.Heartbeat", {})},
        {"payload": None},
    ],
)
def test_what_does_not_fit_is_one_clear_error(changed: dict[str, Any]) -> None:
    record = {
        "event_id": "e",
        "session_id": "s",
        "emitter_id": "m",
        "sequence": 0,
        "occurred_at": 0,
        "nonce": bytes(16),
        "org_id": "o",
        "agent_id": "a",
        "owner_team_id": "t",
        "payload": ("procurator.v1.Heartbeat", {"idle_ms": 1}),
    }
    ENCODER.encode(record)
    for encode in (ENCODER.encode, lambda broken: SCHEMA.encode(broken, 7)):
        with pytest.raises(UserError, match="the record does not fit its schema"):
            encode({**record, **changed})
