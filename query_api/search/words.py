"""What a word is: the rule of the text index (sink/migrations) in Python, to judge a search and to mark its hits.

Case and form of letters are folded (NFKC). A word is a run of letters, digits and marks; in scripts that write no
spaces each character is a word of its own, so that any piece of such a text is found as a phrase. Pure.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

#: Thai, Lao, Burmese, Khmer, radicals, kana, Han.
_SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fff\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3041-\u30ff"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
#: Beyond ASCII; within it whatever is no letter or digit separates.
_PUNCTUATION = (
    "\u0080-\u00a9\u00ab-\u00b4\u00b6-\u00b9\u00bb-\u00bf\u00d7\u00f7\u2000-\u206f\u2190-\u2bff\u3000-\u3004"
    "\u3008-\u3020\u302a-\u3030\ufe10-\ufe6f\uff00-\uff0f"
)
_WORD = re.compile(rf"[{_SPACELESS}]|[^\x00-/:-@\[-`{{-\x7f{_PUNCTUATION}{_SPACELESS}]+")
#: Pieces of a text that are folded at once: a letter and the marks upon it.
_CLUSTER = re.compile(r".[\u0300-\u036f]*", re.DOTALL)


class Span(NamedTuple):
    """A part of a text, from ``begin`` up to ``end``, in characters."""

    begin: int
    end: int


def words(text: str) -> list[str]:
    """Return the words of ``text``, folded."""
    return _WORD.findall(_folded(text))


def marked(text: str, searches: Sequence[tuple[Sequence[str], bool]]) -> list[Span]:
    """Return where ``text`` has what was searched, ascending, apart from each other.

    A search is its words, which stand one after the other, and whether the last is only the beginning of one.
    """
    placed = list(_placed(text))
    found: list[Span] = []
    for wanted, prefix in searches:
        for at in range(len(placed) - len(wanted) + 1):
            window = placed[at : at + len(wanted)]
            if all(
                _is(word, want, prefix and want is wanted[-1]) for (word, _), want in zip(window, wanted, strict=True)
            ):
                found.append(Span(window[0][1].begin, window[-1][1].end))
    return _merged(sorted(found))


def _is(word: str, wanted: str, prefix: bool) -> bool:
    return word.startswith(wanted) if prefix else word == wanted


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def _placed(text: str) -> Iterator[tuple[str, Span]]:
    """Yield each word of ``text``, folded, and where it stands in the text as it was."""
    if text.isascii():
        for match in _WORD.finditer(text.lower()):
            yield match[0], Span(match.start(), match.end())
        return
    pieces = [(_folded(match[0]), match.start(), match.end()) for match in _CLUSTER.finditer(text)]
    origin = [(begin, end) for folded, begin, end in pieces for _ in folded]
    for match in _WORD.finditer("".join(folded for folded, _, _ in pieces)):
        yield match[0], Span(origin[match.start()][0], origin[match.end() - 1][1])


def _merged(spans: list[Span]) -> list[Span]:
    merged: list[Span] = []
    for span in spans:
        if merged and span.begin <= merged[-1].end:
            merged[-1] = Span(merged[-1].begin, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return merged
