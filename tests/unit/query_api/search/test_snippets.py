"""A hit's snippet is that of the whole text, though most of a long one is not looked at."""

from hypothesis import given
from hypothesis import strategies as st

from procurator.query_api.search.snippets import hit_of, snippet
from procurator.query_api.search.text import Text
from procurator.query_api.search.words import marked

_TEXTS = (Text("refund policy"), Text("straße"), Text("reim", prefix=True))
_WORDS = st.sampled_from(["refund", "policy", "Refund", "STRASSE", "reimbursed", "other", "退款", "ﬁne", "—", "\n"])


@given(st.lists(st.tuples(_WORDS, st.integers(0, 900)), max_size=12), st.sampled_from(["x", "é"]))
def test_the_snippet_is_that_of_the_whole_text(pieces: list[tuple[str, int]], filler: str) -> None:
    text = " ".join(f"{word} {filler * length}" for word, length in pieces) or "nothing"
    spans = marked(text, [(each.words, each.prefix) for each in _TEXTS])
    hit = hit_of({"kind": "TurnRecorded", "of_content": text, "of_thinking": None}, _TEXTS)
    assert hit["snippet"] == snippet(text, spans)
