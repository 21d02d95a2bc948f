"""A hit's snippet: the piece of a text around what was searched, in parts of which some are marked. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from procurator.query_api.search.text import BODIES, Text
from procurator.query_api.search.words import Span, marked

SNIPPET_CHARS = 240
_BEFORE_CHARS = 60
#: The beginning of a text that is looked at first, and how much must follow in it for the snippet to be whole.
_NEAR_CHARS = 2_000
_SURELY_SHOWN_CHARS = 1_000
_TURN = "TURN"
_THINKING = "THINKING"
_PARTS = {"ToolCallStarted": "TOOL_INPUT", "ToolCallCompleted": "TOOL_OUTPUT"}


def hit_of(row: Mapping[str, Any], texts: Sequence[Text]) -> dict[str, Any]:
    """Return the hit in a record (a row of `queries.matches.Hits`): where it is, and its snippet.

    What stands beyond the part of a body that was read is not marked: the snippet is then the body's beginning.
    """
    searches = [(text.words, text.prefix) for text in texts]
    shown = [(body, row[f"of_{body}"]) for body in BODIES]
    found = [(body, text, _first_marked(text, searches)) for body, text in shown if text]
    body, text, spans = next((hit for hit in found if hit[2]), found[0] if found else ("content", "", []))
    part = _THINKING if body == "thinking" else _PARTS.get(row["kind"], _TURN)
    return {**row, "part": part, "snippet": snippet(text, spans)}


def _first_marked(text: str, searches: Sequence[tuple[Sequence[str], bool]]) -> list[Span]:
    """Return where ``text`` has what was searched, as far as a snippet around the first place shows.

    Most texts have it near their beginning, and folding long ones takes a while.
    """
    spans = marked(text[:_NEAR_CHARS], searches)
    if len(text) <= _NEAR_CHARS or (spans and spans[0].begin + _SURELY_SHOWN_CHARS < _NEAR_CHARS):
        return spans
    return marked(text, searches)


def snippet(text: str, spans: Sequence[Span]) -> list[dict[str, Any]]:
    """Return the parts of ``text`` around the first span; an ellipsis stands where it goes on."""
    begin = max(0, spans[0].begin - _BEFORE_CHARS) if spans else 0
    end = min(len(text), begin + SNIPPET_CHARS)
    parts: list[tuple[str, bool]] = [("…", False)] if begin else []
    at = begin
    for span in spans:
        if span.begin >= end:
            break
        parts += [(text[at : span.begin], False), (text[span.begin : min(span.end, end)], True)]
        at = min(span.end, end)
    parts += [(text[at:end], False), ("…" if end < len(text) else "", False)]
    return [{"text": piece, "hit": is_hit} for piece, is_hit in parts if piece]
