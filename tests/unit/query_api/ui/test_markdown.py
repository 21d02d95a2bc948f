"""Markdown and JSON that strangers wrote: readable, and unable to do anything."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procurator.query_api.ui.json_tree import NODES_MAX, tree
from procurator.query_api.ui.markdown import MARKDOWN_CHARS_MAX, to_html

ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[a](javascript:alert(1))",
    "[a](JaVaScRiPt:alert(1))",
    "[a](&#106;avascript:alert(1))",
    "[a](data:text/html;base64,PHNjcmlwdD4=)",
    "[a](vbscript:x)",
    "![x](javascript:alert(1))",
    '![x" onerror="alert(1)](https://a.example/b.png "t")',
    "<javascript:alert(1)>",
    '```"><script>alert(1)</script>\nx\n```',
    "<svg/onload=alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "a <b style='position:fixed'>b</b>",
    "[x]: javascript:alert(1)\n\n[x]",
]
_TAG = re.compile(r"<(?!/)([a-z0-9]+)((?:\s[^<>]*)?)>")


def _is_harmless(html: str) -> bool:
    """Tell whether every tag is a known one and no attribute could run anything."""
    for name, attributes in _TAG.findall(html):
        if name in ("script", "img", "iframe", "svg", "style", "b", "object", "form"):
            return False
        if re.search(r"\son\w+=|style=|javascript:|vbscript:|data:|src=", attributes, re.IGNORECASE):
            return False
    return "<script" not in html.lower()


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_stays_text(attack: str) -> None:
    assert _is_harmless(to_html(attack))


@given(st.text(alphabet="<>\"'/\\[]()!`*_&;:#= \nascriptonejvlhf", max_size=120))
def test_no_text_becomes_anything_else_than_harmless(text: str) -> None:
    assert _is_harmless(to_html(text))


def test_a_picture_is_a_link_and_a_link_tells_nobody_where_it_was() -> None:
    html = to_html("![chart](https://a.example/x.png) [more](https://b.example)")
    assert "<img" not in html
    assert html.count('rel="noopener noreferrer nofollow"') == 2


def test_headings_stand_below_those_of_the_page() -> None:
    assert "<h3>" in to_html("# Title")


def test_what_is_too_long_for_the_parser_stays_as_it_is() -> None:
    assert to_html("*" * (MARKDOWN_CHARS_MAX + 1)).startswith('<pre class="plain">')


def test_json_shows_what_was_written_not_what_a_parser_makes_of_it() -> None:
    shown = tree('{"a": 12345678901234567890123, "a": 1.10, "b": "<i>"}') or ""
    assert "12345678901234567890123" in shown
    assert "1.10" in shown
    assert shown.count('<span class="k">a</span>') == 2
    assert "&lt;i&gt;" in shown


@pytest.mark.parametrize("text", ["", "text", '"string"', "12", "{broken", "[" * 5_000 + "]" * 5_000])
def test_what_is_no_tree_is_none(text: str) -> None:
    assert tree(text) is None


def test_a_string_is_shown_with_its_lines_where_it_is_asked_for() -> None:
    assert "<pre>a\nb</pre>" in (tree('"a\\nb"', '"') or "")


def test_a_tree_is_bounded() -> None:
    assert tree("[" + "1," * (10 * NODES_MAX) + "1]") is None
    assert tree("[" + "1," * (NODES_MAX // 2) + "1]") is not None


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8), st.lists, max_leaves=20))
def test_every_small_document_is_shown_or_left_as_text(value: object) -> None:
    import json

    shown = tree(json.dumps(value))
    assert shown is None or "<script" not in shown
