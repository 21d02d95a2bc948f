"""What a request asks the engine to do: a result to stream, data to insert, or something else.

Pure. `parse` looks only at the first kilobytes of an INSERT, so the data behind it may be of any size.
"""

import re
from dataclasses import dataclass
from itertools import islice

from procurator.deploy.embedded.clickhouse.lexer import Token, tokens
from procurator.deploy.embedded.clickhouse.wire import ClickHouseError

HEAD_BYTES_MAX = 262_144  # ClickHouse's max_query_size; an INSERT's data begins within it
_SELECTS = frozenset({b"SELECT", b"WITH", b"FROM", b"("})


@dataclass(frozen=True)
class Select:
    """A statement with rows to stream. `text` is the whole of it; `format_at` is where its FORMAT stands, if any."""

    text: bytes
    format: str | None
    format_at: int | None

    def into(self, path: str, default_format: str, mark: str) -> bytes:
        """The same statement, writing its result to `path` in its own format, findable by the comment `mark`."""
        out = b"\nINTO OUTFILE '%s' APPEND " % path.encode()
        tail = b"\n/* %s */" % mark.encode()
        if self.format_at is None:
            return self.text + out + b"FORMAT " + default_format.encode() + tail
        return self.text[: self.format_at] + out + self.text[self.format_at :] + tail


@dataclass(frozen=True)
class Insert:
    """An INSERT with data: `head` without its FORMAT clause, and where in the text the data begins.

    `source_at` is where `head` takes a FROM INFILE: before its SETTINGS, else at its end.
    """

    head: bytes
    format: str
    data_at: int
    source_at: int

    def reading(self, path: str) -> bytes:
        """The statement that inserts the data in the file at `path`."""
        before, after = self.head[: self.source_at], self.head[self.source_at :]
        source = b"\nFROM INFILE '%s' COMPRESSION 'none' " % path.encode()
        return before + source + after + b"\nFORMAT " + self.format.encode()


@dataclass(frozen=True)
class InsertFromInput:
    """`INSERT … SELECT … FROM input('structure') FORMAT x` and its data."""

    before: bytes
    structure: bytes
    after: bytes
    format: str
    data_at: int

    def reading(self, path: str) -> bytes:
        """The statement with `input(…)` replaced by a read of the file at `path`."""
        return b"%sfile('%s', '%s', %s)%s" % (
            self.before, path.encode(), self.format.encode(), self.structure, self.after,
        )  # fmt: skip


@dataclass(frozen=True)
class Other:
    """Anything else: DDL, SHOW, SET, INSERT … SELECT. `verb` is its first word."""

    text: bytes
    verb: str


Statement = Select | Insert | InsertFromInput | Other


def parse(text: bytes) -> Statement:
    """Sort a statement.

    Raises:
        ClickHouseError: 62 for an empty statement or for several of them.
    """
    head = text[:HEAD_BYTES_MAX]
    first = next(tokens(head), None)
    if first is None:
        raise ClickHouseError(62, "Empty query", "SYNTAX_ERROR")
    if first.keyword in (b"INSERT", b"WITH") and (found := _insert(head)):
        return found
    text = _single(text)
    if first.keyword in _SELECTS:
        return _select(text)
    return Other(text, first.keyword.decode("ascii", "replace"))


def _single(text: bytes) -> bytes:
    """`text` without the semicolon at its end; error 62 if another statement follows it."""
    end: Token | None = None
    for token in tokens(text):
        if token.text == b";" and token.kind == "other":
            end = end or token
        elif end is not None:
            rest = text[end.start :][:64].decode("utf-8", "replace")
            raise ClickHouseError(
                62,
                f"Syntax error (Multi-statements are not allowed): failed at position {end.end} (end of query): {rest}",
                "SYNTAX_ERROR",
            )
    return text if end is None else text[: end.start]


def _select(text: bytes) -> Select | Other:
    top = [token for token in tokens(text) if token.depth == 0]
    if any(token.keyword in (b"OUTFILE", b"INSERT") for token in top):
        return Other(text, "SELECT")  # WITH … INSERT, INTO OUTFILE: the engine's parser says what it is
    found = _format_clause(top)
    return Select(text, None, None) if found is None else Select(text, found[1], found[0])


def _format_clause(top: list[Token]) -> tuple[int, str] | None:
    """Where FORMAT stands among the tokens outside brackets, and what it names."""
    for i in range(len(top) - 2, 0, -1):
        clause, name, *after = top[i : i + 3]
        ends = not after or after[0].keyword in (b"SETTINGS", b";")
        if clause.keyword == b"FORMAT" and name.kind == "word" and ends:
            return clause.start, name.text.decode("ascii", "replace")
    return None


def _insert(head: bytes) -> Statement | None:
    """An INSERT whose data follows it, or None (INSERT … SELECT without `input`, FROM INFILE, no INSERT at all)."""
    stream = (token for token in tokens(head) if token.depth == 0 or token.keyword == b"INPUT")
    seen: list[Token] = []
    reads_input: Token | None = None
    settings_at = 0
    inserts = query = False
    for token in stream:
        seen.append(token)
        word = token.keyword
        inserts = inserts or word == b"INSERT"
        if word == b"INPUT" and query:
            reads_input = token
        if not inserts or token.depth or _names_table(seen):
            continue
        if word == b"SELECT":
            query = True
        elif word == b"SETTINGS":
            settings_at = settings_at or token.start
        elif word in (b"INFILE", b"WATCH"):
            return None
        elif word == b"VALUES" and not query:
            return Insert(head[: token.start], "Values", token.end, settings_at or token.start)
        elif word == b"FORMAT" and (name := next(stream, None)) and name.kind == "word":
            at = _data_at(head, name.end)
            if not query:
                return Insert(head[: token.start], name.text.decode(), at, settings_at or token.start)
            return reads_input and _from_input(head, reads_input, token.start, name.text.decode(), at)
    return None


def _names_table(seen: list[Token]) -> bool:
    """Whether the last token is (part of) the name of the table: it may be spelled like a keyword."""
    before = [token.keyword for token in seen[-2:-1]]
    return before in ([b"INTO"], [b"TABLE"], [b"FUNCTION"], [b"."]) and seen[-1].keyword not in (b"TABLE", b"FUNCTION")


def _data_at(head: bytes, end: int) -> int:
    """Where data begins behind a format's name: after blanks, a semicolon is not data, and one line break."""
    match = re.compile(rb"[ \t\f]*;?[ \t\f]*\r?\n?").match(head, end)
    return match.end() if match else end


def _from_input(head: bytes, call: Token, stop: int, fmt: str, at: int) -> InsertFromInput | None:
    """Cut `input(…)` out of the statement; None if its brackets do not close."""
    inner = [t for t in islice(tokens(head), None) if call.end <= t.start < stop]
    if not inner or inner[0].text != b"(":
        return None
    close = next((t for t in inner[1:] if t.text == b")" and t.depth == inner[0].depth), None)
    if close is None:
        return None
    return InsertFromInput(head[: call.start], head[inner[0].end : close.start], head[close.end : stop], fmt, at)


def format_of(text: bytes) -> str | None:
    """The format a statement names at its end, if it does."""
    found = _format_clause([token for token in tokens(text) if token.depth == 0])
    return None if found is None else found[1]
