"""Whatever an agent hands to a tool becomes JSON text, and never an exception."""

import dataclasses
import enum
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

import pytest

from procurator.producers.json_text import JsonText, to_json


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    y: Any


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, 2.5, None, True, "é"]}, '{"a":[1,2.5,null,true,"é"]}'),
        ({1: "a", None: "b"}, '{"1":"a","null":"b"}'),
        ({(1, 2): "a"}, '{"(1, 2)":"a"}'),
        ([float("nan"), float("-inf")], '["NaN","-Infinity"]'),
        ({"at": datetime(2026, 1, 2, tzinfo=UTC)}, '{"at":"2026-01-02T00:00:00+00:00"}'),
        ([Decimal("1.10"), PurePosixPath("/tmp"), Colour.RED], '["1.10","/tmp","red"]'),
        (Point(1, {2}), '{"x":1,"y":[2]}'),
        ([b"text", b"\xff"], '["text",{"base64":"/w=="}]'),
        ([ValueError("bad")], '["ValueError: bad"]'),
        ([Hostile()], '["<Hostile: repr() raised RuntimeError>"]'),
        ("half \ud800", '"half \\ud800"'),
        (JsonText("{not json"), "{not json"),
    ],
)
def test_values(value: object, text: str) -> None:
    assert to_json(value) == text


def test_a_container_within_itself_is_said_to_be_one() -> None:
    cycle: list[Any] = [1]
    cycle.append({"again": cycle})
    assert to_json(cycle) == '[1,{"again":"<cycle>"}]'


def test_depth_ends() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    text = to_json(deep)
    assert "<too deep>" in text
    json.loads(text)


def test_an_integer_too_long_to_print_is_survived() -> None:
    assert json.loads(to_json({"n": 10**5000}))
