"""`procurator.avro_schemas.codec`: framing, schema resolution, money."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procurator.avro_schemas.codec import (
    Decoder,
    SchemaMismatch,
    UnknownSchema,
    from_decimal,
    load_schema,
    parse_schema,
    to_decimal,
)
from procurator.errors import Unavailable, UserError
from procurator.topics import TOPICS

SIGNAL = load_schema("signal")


def signal() -> dict[str, object]:
    return {
        "signal_id": "0" * 8,
        "session_id": "s",
        "org_id": "acme",
        "kind": "TERMINATE",
        "cause": "PRINCIPAL",
        "requested_by": "ada",
        "reason": "loops",
        "requested_at": 5,
    }


@pytest.mark.parametrize("stem", sorted({topic.schema for topic in TOPICS}))
def test_every_topic_has_a_schema_with_a_doc_on_every_field(stem: str) -> None:
    def undocumented(node: object, path: str) -> list[str]:
        if isinstance(node, list):
            return [name for item in node for name in undocumented(item, path)]
        if not isinstance(node, dict):
            return []
        here = [path] if node.get("type") in ("record", "enum", "fixed") and not node.get("doc") else []
        for field in node.get("fields", ()):
            where = f"{path}.{field['name']}"
            here += ([] if field.get("doc") else [where]) + undocumented(field["type"], where)
        for part in ("items", "values", "type"):
            here += undocumented(node.get(part), path) if isinstance(node.get(part), dict | list) else []
        return here

    schema = json.loads(load_schema(stem).text)
    assert schema["namespace"] == "procurator.v1"
    assert undocumented(schema, stem) == []


def test_a_missing_field_is_named() -> None:
    with pytest.raises(UserError, match="^procurator.v1.Signal: the record does not fit its schema: .*reason"):
        SIGNAL.encode({k: v for k, v in signal().items() if k != "reason"}, 1)


def test_a_record_of_an_older_schema_takes_our_defaults() -> None:
    document = json.loads(SIGNAL.text)
    document["fields"] = [field for field in document["fields"] if field["name"] != "grace_s"]
    older = parse_schema(json.dumps(document))
    decoder = Decoder(SIGNAL, {1: older.text, 2: SIGNAL.text}.__getitem__)
    assert decoder.decode(older.encode(signal(), 1))["grace_s"] == 10
    assert decoder.decode(SIGNAL.encode({**signal(), "grace_s": 3}, 2))["grace_s"] == 3


def test_a_record_of_another_type_is_a_mismatch() -> None:
    decoder = Decoder(load_schema("session_event"), lambda schema_id: SIGNAL.text)
    with pytest.raises(SchemaMismatch, match="^schema id 9: procurator.v1.Signal where procurator.v1.SessionEvent"):
        decoder.decode(SIGNAL.encode(signal(), 9))


def test_an_unknown_schema_is_asked_for_again_since_it_may_be_registered_later() -> None:
    asked = []

    def fetch(schema_id: int) -> str:
        asked.append(schema_id)
        if len(asked) == 1:
            raise UnknownSchema(schema_id)
        if len(asked) == 2:
            raise Unavailable("registry is away")
        return SIGNAL.text

    decoder, value = Decoder(SIGNAL, fetch), SIGNAL.encode(signal(), 4)
    with pytest.raises(UnknownSchema, match="^schema id 4 is not in the registry$"):
        decoder.decode(value)
    with pytest.raises(Unavailable):
        decoder.decode(value)
    assert decoder.decode(value)["reason"] == "loops"
    decoder.decode(value)
    assert asked == [4, 4, 4], "a schema once fetched is never asked for again"


@given(st.integers(-(10**38) + 1, 10**38 - 1))
def test_money_survives_the_wire_to_the_last_digit(unscaled: int) -> None:
    value = to_decimal(unscaled.to_bytes(17, "big", signed=True))
    assert value.as_tuple().exponent == -18
    assert to_decimal(from_decimal(value)) == value


@pytest.mark.parametrize("value", [Decimal("1e-19"), Decimal(10) ** 20])
def test_money_that_does_not_fit_is_refused(value: Decimal) -> None:
    with pytest.raises(ValueError, match=r"does not fit decimal\(38, 18\)$"):
        from_decimal(value)
