"""What a word is: the rule of the text index (sink/migrations) in Python, to judge a search and to mark its hits.

Case and form of letters are folded (NFKC). A word is a run of letters, digits and marks; in scripts that write no
spaces each character is a word of its own, so that any piece of such a text is found as a phrase. Pure.
"""

import re
import unicodedata
from collections.abc import Sequence
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
#: Pieces of a text that are folded at once: as much ASCII as there is, of which each letter stays one, or any other
#: letter and the marks upon it.
_PIECE = re.compile(r"([\x00-\x7f]+)(?![\u0300-\u036f])|.[\u0300-\u036f]*", re.DOTALL)


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
    placed, origin = _placed(text)
    ascending = [word for word, _, _ in placed]
    found: list[Span] = []
    for wanted, prefix in searches:
        *whole, last = wanted
        for at in range(len(whole), len(ascending)):
            word, first = ascending[at], at - len(whole)
            if (word.startswith(last) if prefix else word == last) and ascending[first:at] == whole:
                begin, end = placed[first][1], placed[at][2]
                found.append(Span(begin, end) if origin is None else Span(origin[begin][0], origin[end - 1][1]))
    return _merged(sorted(found))


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def _placed(text: str) -> tuple[list[tuple[str, int, int]], list[tuple[int, int]] | None]:
    """Return the folded text's words with their places there, and from where in ``text`` each of its letters comes.

    None stands for the same place.
    """
    if text.isascii():
        return _words_of(text.lower()), None
    folded: list[str] = []
    origin: list[tuple[int, int]] = []
    for match in _PIECE.finditer(text):
        begin, end = match.span()
        if match[1]:
            folded.append(match[1].lower())
            origin += zip(range(begin, end), range(begin + 1, end + 1), strict=True)
        else:
            folded.append(piece := _folded(match[0]))
            origin += [(begin, end)] * len(piece)
    return _words_of("".join(folded)), origin


def _words_of(folded: str) -> list[tuple[str, int, int]]:
    return [(match[0], *match.span()) for match in _WORD.finditer(folded)]


def _merged(spans: list[Span]) -> list[Span]:
    merged: list[Span] = []
    for span in spans:
        if merged and span.begin <= merged[-1].end:
            merged[-1] = Span(merged[-1].begin, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return merged
