"""The JSON documents in a file, one by one; what is damaged is said, not raised. Pure: bytes in, documents out.

A file is one document, a JSON array of documents, or documents one after the other (JSON lines); each may be gzipped.
An array of chat messages is one document. Damage costs the document it is in: those before it are read, and those
after it too wherever their beginning can still be told.
"""

import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from procurator.errors import UserError

#: More than any recording we know of; a gzip bomb ends here.
TEXT_BYTES_MAX = 2 * 1024**3
_GZIP_MAGIC = b"\x1f\x8b"
_PIECE_BYTES = 512
_SPACE = re.compile(r"[ \t\r\n]*")
_NEXT_VALUE = re.compile(r"^[{\[]", re.MULTILINE)
_NOT_UTF8 = re.compile("[\udc80-\udcff]")
_decoder = json.JSONDecoder()


class ImportFailed(UserError):
    """A recording, or part of it, cannot be imported. ``position`` is the index of the record in its file."""

    def __init__(self, source: str, position: int, where: str, reason: str) -> None:
        super().__init__(f"{source}: {where}: {reason}")
        self.source = source
        self.position = position
        self.where = where
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON value and where it stands: ``position`` counts from 0, ``where`` is for people."""

    position: int
    where: str
    value: Any


def read_documents(source: str, data: bytes) -> Iterator[Document | ImportFailed]:
    """Yield what is in ``data``, and an ImportFailed for each part that cannot be read. ``source`` names the file."""
    data, damage = _inflate(data)
    # Bytes that are no UTF-8 become marks that no valid text contains, so that they cost only the record they are in.
    text = data.removeprefix(b"\xef\xbb\xbf").decode(errors="surrogateescape")
    reader = _Reader(source, text, damage)
    start = reader.skip_space(0)
    if start == len(text):
        yield reader.failed(0, start, damage or "the file is empty")
    elif text[start] == "[" and not reader.is_chat(start):
        yield from reader.array(start)
    else:
        yield from reader.values(start)


class _Reader:
    """Reads one text; offsets are in characters."""

    def __init__(self, source: str, text: str, damage: str | None) -> None:
        self.source = source
        self.text = text
        self.damage = damage
        # Where lines were counted to, and the number of that line: a large file is counted once.
        self._counted = (0, 1)

    def skip_space(self, at: int) -> int:
        match = _SPACE.match(self.text, at)
        return match.end() if match else at

    def is_chat(self, start: int) -> bool:
        """Return whether the array at ``start`` begins with a message: then it is one conversation."""
        try:
            first, _ = _decoder.raw_decode(self.text, self.skip_space(start + 1))
        except (ValueError, RecursionError):
            return False
        return isinstance(first, dict) and "role" in first

    def array(self, start: int) -> Iterator[Document | ImportFailed]:
        """Yield the elements of the array at ``start``; without its comma the rest cannot be told apart."""
        position, at = 0, self.skip_space(start + 1)
        if self.text[at : at + 1] == "]":
            yield self.failed(0, at, "the array is empty")
            return
        while True:
            found = self.value(position, at)
            yield found[0]
            if found[1] is None:
                return
            position, at = position + 1, self.skip_space(found[1])
            mark = self.text[at : at + 1]
            if mark == "]":
                yield from self.rest(position, self.skip_space(at + 1))
                return
            if mark != ",":
                yield self.failed(
                    position, at, "expected ',' or ']'" if mark else self.damage or "cut off (expected ',' or ']')"
                )
                return
            at = self.skip_space(at + 1)

    def values(self, at: int) -> Iterator[Document | ImportFailed]:
        """Yield the values that follow one another from ``at``; a damaged one ends where a line begins a new one."""
        position, line_end = 0, None
        while at < len(self.text):
            document, end = self.value(position, at, line_end)
            yield document
            if end is None:
                following = _NEXT_VALUE.search(self.text, self._line_end(at) + 1)
                if following is None:
                    return
                end = following.start()
            elif position == 0 and "\n" not in self.text[at:end]:
                line_end = end  # One value a line: a damaged one must not swallow the next.
            position, at = position + 1, self.skip_space(end)
            line_end = None if line_end is None else self._line_end(at)
        yield from self.rest(position, at)

    def value(self, position: int, at: int, until: int | None = None) -> tuple[Document | ImportFailed, int | None]:
        """Return the value at ``at`` and where it ends, before ``until``; no end when that cannot be told."""
        text, base = (self.text, 0) if until is None else (self.text[at:until], at)
        try:
            value, end = _decoder.raw_decode(text, at - base)
        except json.JSONDecodeError as error:
            whole = not text[error.pos :].strip() or error.msg.startswith("Unterminated string")
            reason = (self.damage or f"cut off ({error.msg})") if whole else f"not JSON: {error.msg}"
            return self.failed(position, base + error.pos, reason), None
        except (ValueError, RecursionError) as error:
            what = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            return self.failed(position, at, f"cannot be read: {what}"), None
        end += base
        if bad := _NOT_UTF8.search(self.text, at, end):
            return self.failed(position, bad.start(), "not UTF-8"), end
        return Document(position, f"record {position} (line {self._line(at)})", value), end

    def rest(self, position: int, at: int) -> Iterator[ImportFailed]:
        if at < len(self.text):
            yield self.failed(position, at, f"unexpected {self.text[at : at + 20]!r} after the end of the JSON")
        elif self.damage:
            yield self.failed(position, at, self.damage)

    def failed(self, position: int, at: int, reason: str) -> ImportFailed:
        byte = len(self.text[:at].encode(errors="surrogateescape"))
        return ImportFailed(self.source, position, f"record {position}, line {self._line(at)}, byte {byte}", reason)

    def _line_end(self, at: int) -> int:
        end = self.text.find("\n", at)
        return len(self.text) if end < 0 else end

    def _line(self, at: int) -> int:
        counted_to, line = self._counted
        if at < counted_to:
            counted_to, line = 0, 1
        self._counted = (at, line + self.text.count("\n", counted_to, at))
        return self._counted[1]


def _inflate(data: bytes) -> tuple[bytes, str | None]:
    """Return the uncompressed bytes, as far as they can be had, and what is wrong with the rest."""
    if not data.startswith(_GZIP_MAGIC):
        return data, None
    out = bytearray()
    while data.startswith(_GZIP_MAGIC):
        member, at = zlib.decompressobj(wbits=31), 0
        while at < len(data) and not member.eof:
            # Damage is found with the piece that it is in, or by the checksum, which comes byte by byte: what stands
            # before is had.
            piece = data[at : at + (_PIECE_BYTES if at + 2 * _PIECE_BYTES <= len(data) else 1)]
            try:
                out += member.decompress(piece, TEXT_BYTES_MAX - len(out) + 1)
            except zlib.error as error:
                return bytes(out), f"the gzip data is damaged: {error}"
            if len(out) > TEXT_BYTES_MAX:
                return bytes(out[:TEXT_BYTES_MAX]), f"more than {TEXT_BYTES_MAX} bytes when uncompressed"
            at += len(piece)
        if not member.eof:
            return bytes(out), "the gzip data is cut off"
        data = (member.unused_data + data[at:]).lstrip(b"\0")  # Padding of tapes and pipes.
    return bytes(out), "bytes after the end of the gzip data" if data else None
