"""`procurator.stream_processors.schema_cache`: the event loop never waits for the registry."""

import pytest

from procurator.avro_schemas.codec import UnknownSchema
from procurator.errors import Unavailable
from procurator.registry import Registry
from procurator.stream_processors.schema_cache import SchemaCache, SchemaWanted


class Known(Registry):
    """A registry whose answers are given."""

    def __init__(self, **answers: str | Exception) -> None:
        self.answers = answers
        self.asked: list[int] = []

    def fetch(self, schema_id: int) -> str:
        self.asked.append(schema_id)
        answer = self.answers[f"id{schema_id}"]
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_a_schema_is_wanted_then_fetched_then_kept() -> None:
    registry = Known(id3="{}")
    cache = SchemaCache(registry)
    with pytest.raises(SchemaWanted) as wanted:
        cache.get(3)
    assert registry.asked == []
    await cache.fetch(wanted.value.schema_id)
    assert cache.get(3) == cache.get(3) == "{}"
    assert registry.asked == [3]


async def test_that_a_schema_is_unknown_is_said_once_and_asked_again() -> None:
    registry = Known(id4=UnknownSchema(4))
    cache = SchemaCache(registry)
    await cache.fetch(4)
    with pytest.raises(UnknownSchema):
        cache.get(4)
    with pytest.raises(SchemaWanted):
        cache.get(4)


async def test_an_outage_is_the_callers_to_wait_for() -> None:
    cache = SchemaCache(Known(id5=Unavailable("away")))
    with pytest.raises(Unavailable, match="^away$"):
        await cache.fetch(5)
    with pytest.raises(SchemaWanted):
        cache.get(5)
