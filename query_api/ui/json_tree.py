"""JSON as a tree that folds without a script (``<details>``), bounded in size. Pure.

It shows what is in the text, not what a parser makes of it: numbers keep their digits, a name that stands twice shows
twice.
"""

import json
from typing import Any

from markupsafe import Markup, escape

#: Beyond these a value is shown as text: a browser should not hold a million nodes.
NODES_MAX = 400
DEPTH_MAX = 40
CHARS_MAX = 100_000
#: Objects and lists above this depth are open at first.
_OPEN_DEPTH = 2


class _Number(str):
    """A number as it is written."""


class _Object(list[tuple[str, Any]]):
    """An object's names and values, in their order."""


class _TooLargeError(Exception):
    """More nodes than a page should have."""


def tree(text: str, begins: str = "{[") -> Markup | None:
    """Return the tree of an object or list, with ``"`` in ``begins`` also of a string.

    None for other values, for what is no JSON, and for what is too large.
    """
    if len(text) > CHARS_MAX or not text.lstrip().startswith(tuple(begins)):
        return None
    parts: list[str] = []
    try:
        value = json.loads(text, parse_int=_Number, parse_float=_Number, object_pairs_hook=_Object)
        _write(parts, value, 0)
    except (ValueError, RecursionError, _TooLargeError):
        return None
    return Markup(f'<div class="json">{"".join(parts)}</div>')


def _write(parts: list[str], value: Any, depth: int) -> None:
    if len(parts) > 4 * NODES_MAX or depth > DEPTH_MAX:
        raise _TooLargeError
    if isinstance(value, _Object):
        _branch(parts, [(f'<span class="k">{escape(name)}</span>: ', item) for name, item in value], "{}", depth)
    elif isinstance(value, list):
        _branch(parts, [("", item) for item in value], "[]", depth)
    else:
        parts.append(_leaf(value))


def _branch(parts: list[str], items: list[tuple[str, Any]], brackets: str, depth: int) -> None:
    if not items:
        parts.append(f'<span class="w">{brackets}</span>')
        return
    noun = ("key" if brackets == "{}" else "item") + ("" if len(items) == 1 else "s")
    is_open = " open" if depth < _OPEN_DEPTH else ""
    parts.append(f"<details{is_open}><summary>{brackets[0]}<i>{len(items)} {noun}</i></summary><ul>")
    for label, item in items:
        parts.append(f"<li>{label}")
        _write(parts, item, depth + 1)
        parts.append("</li>")
    parts.append(f"</ul>{brackets[1]}</details>")


def _leaf(value: Any) -> str:
    if isinstance(value, _Number):
        return f'<span class="n">{escape(str(value))}</span>'
    if isinstance(value, str):
        shown = f"<pre>{escape(value)}</pre>" if "\n" in value else f'"{escape(value)}"'
        return f'<span class="s" dir="auto">{shown}</span>'
    return f'<span class="w">{json.dumps(value)}</span>'  # true, false, null; also NaN, which some write
