"""The real registry's opinion of our schemas: each release and what stands now, under BACKWARD_TRANSITIVE."""

import json
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from procurator.avro_schemas.codec import Schema, load_schema, parse_schema
from procurator.deploy.embedded.stack import Stack
from procurator.errors import Fatal
from procurator.registry import Registry
from procurator.topics import TOPICS

RELEASES = Path(__file__).parents[1] / "released_schemas"
STEMS = sorted({topic.schema for topic in TOPICS})


@pytest.fixture(scope="module")
def registry(broker_stack: Stack) -> Iterator[Registry]:
    with closing(Registry(broker_stack.registry_url)) as client:
        yield client


def renamed(text: str, namespace: str) -> Schema:
    """Return a schema under a subject of this test's own."""
    return parse_schema(text.replace('"procurator.v1"', f'"{namespace}"'))


@pytest.mark.parametrize("stem", STEMS)
def test_each_schema_can_follow_all_its_releases(registry: Registry, stem: str) -> None:
    namespace = f"t{uuid.uuid4().hex}"
    copies = sorted(RELEASES.glob(f"*/{stem}.avsc"), key=lambda path: [int(n) for n in path.parent.name.split(".")])
    for copy in copies:
        registry.register(renamed(copy.read_text("utf-8"), namespace))
    current = renamed(load_schema(stem).text, namespace)
    first = registry.register(current)
    assert registry.register(current) == first, "the same again changes nothing"
    assert registry.schema_id(current) == first


def test_a_schema_that_could_not_read_what_was_written_is_refused(registry: Registry) -> None:
    namespace = f"t{uuid.uuid4().hex}"
    text = load_schema("dead_letter").text
    registry.register(renamed(text, namespace))
    document = json.loads(text)
    document["fields"].append({"name": "new", "type": "string", "doc": "Has no default."})
    with pytest.raises(Fatal, match="is not BACKWARD_TRANSITIVE with its earlier versions"):
        registry.register(renamed(json.dumps(document), namespace))
