"""The tokens of a ClickHouse statement, as far as an HTTP endpoint must see them.

Pure. The engine's own parser decides what a statement *means* (see `policy`); this lexer only finds places in the
text: where an INSERT ends and its data begins, where FORMAT stands. It works on bytes, since a statement may hold
bytes that are no UTF-8, and stops early: the data of an INSERT is never lexed.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

# ClickHouse's lexer: strings and quoted identifiers take backslash escapes and doubled quotes.
_TOKEN = re.compile(
    rb"""(?P<space>[\s\x00]+|--[^\n]*|\#[!\ ][^\n]*|/\*.*?(?:\*/|\Z))
       | (?P<string>'(?:[^'\\]|\\.|'')*'|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
       | (?P<quoted>`(?:[^`\\]|\\.|``)*`|"(?:[^"\\]|\\.|"")*")
       | (?P<word>[A-Za-z_\x80-\xff][\w\x80-\xff$]*)
       | (?P<number>\d[\w.]*)
       | (?P<other>.)""",
    re.DOTALL | re.VERBOSE,
)
_OPEN, _CLOSE = b"([{", b")]}"


class Token(NamedTuple):
    """One token: its kind (string, quoted, word, number, other), text, place, and how many brackets enclose it."""

    kind: str
    text: bytes
    start: int
    end: int
    depth: int

    @property
    def keyword(self) -> bytes:
        """The word in capitals, or the sign; empty for strings, quoted identifiers and numbers."""
        return self.text.upper() if self.kind == "word" else self.text if self.kind == "other" else b""

    @property
    def name(self) -> str | None:
        """The identifier this token spells, in lower case; None if it is none."""
        if self.kind == "word":
            return self.text.decode("utf-8", "replace").lower()
        if self.kind == "quoted":
            inner = re.sub(rb"\\x([0-9a-fA-F]{2})", lambda m: bytes([int(m[1], 16)]), self.text[1:-1])
            return re.sub(rb"\\(.)", rb"\1", inner, flags=re.DOTALL).decode("utf-8", "replace").lower()
        return None


def tokens(text: bytes) -> Iterator[Token]:
    """The tokens of `text` without spaces and comments. Never fails: what is no token is a token of one byte."""
    depth = 0
    for match in _TOKEN.finditer(text):
        kind = str(match.lastgroup if match.lastgroup != "tag" else "string")
        if kind == "space":
            continue
        value = match[0]
        if kind == "other" and value in _CLOSE:
            depth = max(0, depth - 1)
        yield Token(kind, value, match.start(), match.end(), depth)
        if kind == "other" and value in _OPEN:
            depth += 1
