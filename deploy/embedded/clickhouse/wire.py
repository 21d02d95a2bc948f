"""ClickHouse's HTTP dialect: errors and their status, the frame of a late error, headers.

Pure. Sources: ClickHouse's `HTTPHandler.cpp`, `exceptionCodeToHTTPStatus` and `WriteBufferFromHTTPServerResponse`.
"""

import json
import os
import re
from dataclasses import dataclass, field
from typing import Any

FORMATS = {
    "JSON": "application/json; charset=UTF-8",
    "Native": "application/octet-stream",
    "RowBinary": "application/octet-stream",
    "Parquet": "application/octet-stream",
    "Arrow": "application/octet-stream",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "XML": "application/xml; charset=UTF-8",
}
_STATUS = {
    **dict.fromkeys((193, 194), 401),
    **dict.fromkeys((192, 497, 516), 403),
    **dict.fromkeys((6, 26, 27, 36, 38, 41, 42, 43, 44, 53, 62, 69, 70, 72, 131, 427, 456, 457), 400),
    **dict.fromkeys((16, 46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 137, 372), 404),
    **dict.fromkeys((159,), 408),
    **dict.fromkeys((381,), 411),
    **dict.fromkeys((223, 225), 413),
    **dict.fromkeys((48, 1, 344), 501),
    **dict.fromkeys((76, 209, 439), 503),
}
_DOUBLED = re.compile(r"^(?:Code: \d+\. )?DB::\w*Exception: (?=Code: \d+\. DB::)")
_PARTS = re.compile(r"^Code: (\d+)\. (DB::\w*Exception): (.*?)(?:\.? \(([A-Z0-9_]+)\))?\s*$", re.DOTALL)
#: Where the endpoint put the data of an INSERT is no business of the client's.
_OWN_FILE = re.compile(r": \(in file/uri /dev/fd/\d+\)|: data for INSERT was parsed from file")
_VERSION = re.compile(r" \(version [^()]*(?:\([^()]*\))?[^()]*\)\.?")


@dataclass
class ClickHouseError(Exception):
    """An error with ClickHouse's number, text and name, as `system.errors` lists them."""

    code: int
    text: str
    name: str
    kind: str = "DB::Exception"
    http_status: int | None = None

    @classmethod
    def parse(cls, message: str) -> "ClickHouseError":
        """Read what the engine raised, `Code: 62. DB::Exception: … (SYNTAX_ERROR)`; repeated wrappings count once."""
        outer = _PARTS.match(message)
        found = _PARTS.match(_OWN_FILE.sub("", _VERSION.sub("", _DOUBLED.sub("", message))))
        if found:
            name = found[4] or (outer[4] if outer else None) or "UNKNOWN"
            return cls(int(found[1]), found[3].removesuffix(f" ({name})"), name, found[2])
        return cls(1002, message.strip() or "the engine failed without a message", "UNKNOWN_EXCEPTION")

    @property
    def status(self) -> int:
        """The HTTP status ClickHouse gives this error."""
        return self.http_status or _STATUS.get(self.code, 500)

    def body(self, version: str) -> bytes:
        """The line that goes on the wire."""
        dot = "" if self.text.endswith(".") else "."
        return f"Code: {self.code}. {self.kind}: {self.text}{dot} ({self.name}) (version {version})\n".encode()

    def __str__(self) -> str:
        return f"Code: {self.code}. {self.kind}: {self.text} ({self.name})"


def new_tag() -> str:
    """Sixteen random letters that tell a late error from data."""
    return "".join(chr(97 + byte % 26) for byte in os.urandom(16))


def late_error(error: bytes, tag: str) -> bytes:
    """The frame in which ClickHouse 25.11 and later send an error after the body has begun."""
    return b"\r\n__exception__\r\n%s\r\n%s%d %s\r\n__exception__\r\n" % (tag.encode(), error, len(error), tag.encode())


def content_type(fmt: str) -> str:
    """The media type of an output format."""
    if fmt in FORMATS:
        return FORMATS[fmt]
    if fmt.startswith("JSON"):
        each_row = "EachRow" in fmt
        return "application/x-ndjson; charset=UTF-8" if each_row else "application/json; charset=UTF-8"
    for prefix in ("RowBinary", "Arrow", "CSV", "TabSeparated", "TSV"):
        if fmt.startswith(prefix):
            return FORMATS[prefix]
    return "text/plain; charset=UTF-8"


@dataclass
class Summary:
    """What a query has read and written so far, for `X-ClickHouse-Summary`."""

    numbers: dict[str, int] = field(default_factory=dict)

    NAMES = (
        "read_rows", "read_bytes", "written_rows", "written_bytes", "total_rows_to_read", "result_rows",
        "result_bytes", "elapsed_ns",
    )  # fmt: skip

    def update(self, numbers: dict[str, Any]) -> None:
        """Take the engine's progress. Numbers never fall."""
        for name in self.NAMES:
            if name in numbers:
                self.numbers[name] = max(self.numbers.get(name, 0), int(numbers[name]))

    def header(self) -> str:
        """The header's value: an object whose values are strings, as ClickHouse writes them."""
        return json.dumps({name: str(self.numbers.get(name, 0)) for name in self.NAMES}, separators=(",", ":"))
