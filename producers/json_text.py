"""Any Python object as JSON text, never raising: what an agent passes to a tool must not be able to stop the agent.

What JSON has a form for is written as `json.dumps` does. The rest falls back, documented in docs/sdk.md:

================================  ==============================================
NaN, ±Infinity                    the strings "NaN", "Infinity", "-Infinity"
datetime, date, time              ISO 8601
Decimal, UUID, Path, Enum         its text; an Enum its value
bytes                             UTF-8 text, else {"base64": …}
dataclass, pydantic model, attrs  an object of its fields
tuple, set                        an array (generators are left alone: reading would use them up)
exception                         "Type: message"
a container within itself         "<cycle>"
deeper than 100                   "<too deep>"
anything else                     its repr, at most 1,000 characters
================================  ==============================================
"""

import base64
import dataclasses
import enum
import json
import math
from collections.abc import Mapping
from typing import Any

DEPTH_MAX = 100
REPR_CHARACTERS_MAX = 1000

_PLACE_IN_MEMORY: object = object.__str__

_strict = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_lenient = json.JSONEncoder(ensure_ascii=False, allow_nan=True, separators=(",", ":"))


class JsonText(str):
    """Text that already is JSON, or claims to be: kept as it stands, for example a model's ``function.arguments``."""

    __slots__ = ()


def to_json(value: object) -> str:
    """Return ``value`` as JSON text. Lone surrogates come as their escapes, so that it is valid UTF-8 and JSON."""
    if isinstance(value, JsonText):
        return str(value)
    try:
        text = _strict.encode(value)
    # Whatever an object's own methods raise, and recursion, goes the slow way.
    except Exception:  # noqa: BLE001
        text = _fallback(value)
    if not text.isascii():
        text = text.encode(errors="backslashreplace").decode()
    return text


def _fallback(value: object) -> str:
    try:
        return _lenient.encode(_plain(value, 0, ()))
    # An int of more than 4,300 digits, or a stack that is nearly used up already.
    except Exception:  # noqa: BLE001
        return _lenient.encode(_repr(value))


def safe_text(value: object) -> str:
    """Return ``str(value)``, or what it is when even that raises."""
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001
        return f"<{type(value).__name__}: str() raised {type(error).__name__}>"


def _plain(value: Any, depth: int, around: tuple[int, ...]) -> Any:
    """Return ``value`` made of what JSON knows; ``around`` are the ids of the containers it stands in."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return _plain(value.value, depth + 1, around) if depth < DEPTH_MAX else "<too deep>"
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else ("NaN" if value != value else _infinity(value))
    if id(value) in around:
        return "<cycle>"
    if depth >= DEPTH_MAX:
        return "<too deep>"
    try:
        return _compound(value, depth + 1, (*around, id(value)))
    except Exception:  # noqa: BLE001
        return _repr(value)


def _compound(value: Any, depth: int, around: tuple[int, ...]) -> Any:
    if isinstance(value, Mapping):
        return {_key(key): _plain(item, depth, around) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, depth, around) for item in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return _bytes(bytes(value))
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {safe_text(value)}"
    if isinstance(value, type):
        return _repr(value)
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name, None), depth, around) for f in dataclasses.fields(value)}
    if callable(dump := getattr(value, "model_dump", None)):
        return _plain(dump(), depth, around)
    if hasattr(value, "__attrs_attrs__"):
        return {a.name: _plain(getattr(value, a.name, None), depth, around) for a in value.__attrs_attrs__}
    if callable(iso := getattr(value, "isoformat", None)):
        return str(iso())
    # A type that says how it reads (Decimal, UUID, Path, …) rather than where it is in memory.
    return _repr(value) if type(value).__str__ is _PLACE_IN_MEMORY else str(value)[:REPR_CHARACTERS_MAX]


def _key(key: Any) -> str:
    if isinstance(key, str):
        return str.__str__(key)
    if key is None or isinstance(key, bool | int | float):
        return json.dumps(key)
    return safe_text(key)


def _infinity(value: float) -> str:
    return "Infinity" if value > 0 else "-Infinity"


def _bytes(value: bytes) -> Any:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _repr(value: Any) -> str:
    try:
        return repr(value)[:REPR_CHARACTERS_MAX]
    except Exception as error:  # noqa: BLE001
        return f"<{type(value).__name__}: repr() raised {type(error).__name__}>"
