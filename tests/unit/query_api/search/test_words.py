"""What a word is, where it stands, and the snippet around it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procurator.query_api.search import words as rule
from procurator.query_api.search.snippets import SNIPPET_CHARS, snippet
from procurator.query_api.search.words import Span, marked, words
from procurator.sink.migrate import shipped


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The refund-policy, v2", ["the", "refund", "policy", "v2"]),
        ("get_order", ["get", "order"]),
        ("Straße ＡＢＣ", ["strasse", "abc"]),
        ("“quoted” foo—bar", ["quoted", "foo", "bar"]),
        ("退款政策 is", ["退", "款", "政", "策", "is"]),
        ("привет한국어", ["привет한국어"]),
        ("!?—", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@given(st.text())
def test_words_and_places_agree(text: str) -> None:
    placed = [word for word, _, _ in rule._placed(text)[0]]
    if all(len(rule._folded(cluster)) for cluster in re.findall(r".[\u0300-\u036f]*", text, re.DOTALL)):
        assert "".join(placed) == "".join(words(text))


@given(st.text(), st.text(min_size=1))
def test_spans_are_parts_of_the_text_in_order(text: str, searched: str) -> None:
    spans = marked(text, [(words(searched), False)]) if words(searched) else []
    ends = [bound for span in spans for bound in span]
    assert ends == sorted(ends)
    assert all(0 <= span.begin < span.end <= len(text) for span in spans)


def test_marks() -> None:
    assert marked("Das 退款政策 ist “Straße”", [(["款", "政"], False), (["stras"], True)]) == [Span(5, 7), Span(14, 20)]
    assert marked("refund the refund policy", [(["refund", "policy"], False)]) == [Span(11, 24)]
    assert marked("refunds", [(["refund"], False)]) == []


@given(st.text(min_size=1), st.integers(0, 50), st.integers(1, 50))
def test_a_snippet_is_a_piece_of_the_text(text: str, begin: int, length: int) -> None:
    spans = [Span(begin, min(begin + length, len(text)))] if begin < len(text) else []
    pieces = snippet(text, spans)
    shown = "".join(piece["text"] for piece in pieces)
    assert shown.strip("…") in text or shown in text
    assert len(shown) <= SNIPPET_CHARS + 2
    if spans:
        assert "".join(piece["text"] for piece in pieces if piece["hit"]) == text[spans[0].begin : spans[0].end]


def test_the_index_parts_words_at_the_same_characters() -> None:
    sql = next(migration.sql for migration in shipped() if migration.name == "search")
    spaceless, punctuation = re.findall(r"'\(\[(.*?)\]\)\|\[(.*?)\]'", sql)[0]
    for ours, theirs in ((rule._SPACELESS, spaceless), (rule._PUNCTUATION, punctuation)):
        assert ours == re.sub(r"\\\\x\{([0-9A-F]+)\}", lambda match: chr(int(match[1], 16)), theirs)
