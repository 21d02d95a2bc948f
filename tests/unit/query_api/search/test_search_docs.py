"""docs/search.md: every example parses, and every field is in it."""

import re
from pathlib import Path

import pytest

from procurator.query_api.queries.spend import OF_CALLS, OF_SESSIONS, TOOL
from procurator.query_api.search import parse
from procurator.query_api.search.fields import MARKS, MEASURES, NAMES

_DOCS = Path(__file__).resolve().parents[4] / "docs" / "search.md"
_TEXT = _DOCS.read_text("utf-8")
_LANGUAGE, _FIELDS = (
    part.split("\n## ")[0] for part in (_TEXT.split("## The language")[1], _TEXT.split("## Fields")[1])
)
_EXAMPLES = [
    *(
        code
        for line in _LANGUAGE.splitlines()
        if line.startswith("| `")
        for code in re.findall(r"`([^`]+)`", line.split(" | ")[0])
    ),
    *(re.findall(r"`([^`]+)`", line)[-1] for line in _FIELDS.splitlines() if line.startswith("| `")),
    *re.findall(r"'q=(.*?)'", _TEXT),
]


@pytest.mark.parametrize("example", _EXAMPLES)
def test_an_example_is_a_search(example: str) -> None:
    assert parse(example).terms


def test_every_field_and_group_is_documented() -> None:
    named = set(re.findall(r"`([a-z_]+)`", _TEXT))
    assert {*NAMES, *MEASURES, *MARKS, *OF_CALLS, *OF_SESSIONS, TOOL} <= named
