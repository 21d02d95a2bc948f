"""Writer schemas that the signer records: each once, a late one as late, and ids that were made up cost little."""

from typing import Any

import pytest

from procurator.avro_schemas.codec import UnknownSchema, load_schema
from procurator.errors import Unavailable
from procurator.signer.schemas import AGAIN_MAX, LOOKUPS_MAX, UNKNOWN_MAX, SchemaIds


class Registered:
    """Schema ids that are registered, and how often any was asked for."""

    def __init__(self, *ids: int) -> None:
        self.ids = set(ids)
        self.asked: list[int] = []
        self.away = False

    def fetch(self, schema_id: int) -> str:
        self.asked.append(schema_id)
        if self.away:
            raise Unavailable("the registry is away")
        if schema_id not in self.ids:
            raise UnknownSchema(schema_id)
        return load_schema("session_event").text


def schema_ids(registry: Any, *unknown: int) -> SchemaIds:
    return SchemaIds(registry, unknown)


def shown(payloads: list[dict[str, Any]]) -> list[tuple[int, bool]]:
    return [(payload["schema_id"], payload["late"]) for payload in payloads]


def test_a_schema_that_is_registered_later_is_recorded_as_late() -> None:
    registry = Registered(1)
    ids = schema_ids(registry)
    ids.add(1)
    ids.add(7)
    assert shown(ids.payloads(set())) == [(1, False)]
    assert ids.unknown == {7}
    assert ids.payloads({1}) == []
    registry.ids.add(7)
    assert shown(ids.payloads({1})) == [(7, True)]
    assert ids.unknown == frozenset()


def test_what_was_unknown_before_a_restart_is_late_after_it() -> None:
    ids = schema_ids(Registered(7), 7)
    ids.add(7)
    assert shown(ids.payloads(set())) == [(7, True)]


def test_an_outage_forgets_nothing() -> None:
    registry = Registered(1)
    registry.away = True
    ids = schema_ids(registry, 7)
    ids.add(1)
    with pytest.raises(Unavailable):
        ids.payloads(set())
    registry.away = False
    assert shown(ids.payloads(set())) == [(1, False)]
    assert ids.unknown == {7}


def test_ids_that_were_made_up_cost_a_few_requests_an_epoch() -> None:
    registry = Registered()
    ids = schema_ids(registry)
    for schema_id in range(2 * UNKNOWN_MAX):
        ids.add(schema_id)
    for _ in range(2 * UNKNOWN_MAX // LOOKUPS_MAX):
        registry.asked.clear()
        assert ids.payloads(set()) == []
        assert len(registry.asked) <= LOOKUPS_MAX + AGAIN_MAX
    assert len(ids.unknown) <= UNKNOWN_MAX
    registry.ids.add(5 * UNKNOWN_MAX)
    ids.add(5 * UNKNOWN_MAX)
    assert shown(ids.payloads(set())) == [(5 * UNKNOWN_MAX, False)]
