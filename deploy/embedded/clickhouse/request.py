"""A request to the endpoint, parsed: who asks, the statement's text, data, settings, parameters.

Pure. Source: ClickHouse's `HTTPHandler`: what is no reserved name in the query string is a setting; `query` and the
body are one text with a line break between; parts of a `multipart/form-data` body that have a file name are external
tables, the others are more of the query string.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.parser import BytesHeaderParser
from urllib.parse import parse_qsl

from procurator.deploy.embedded.clickhouse.wire import ClickHouseError

_RESERVED = re.compile(
    r"query|database|default_format|user|password|quota_key|query_id|session_(id|timeout|check)|close_session"
    r"|stacktrace|(de)?compress|buffer_size|wait_end_of_query|role|client_protocol_version|client_name"
)
_FORMAT = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")
_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,127}")
SESSION_TIMEOUT_S_MAX = 3600
BUFFER_BYTES = 1 << 20


@dataclass(frozen=True)
class ExternalTable:
    """A table that came with the request: `structure` is `name Type, …`."""

    name: str
    structure: str
    format: str
    data: memoryview


@dataclass(frozen=True)
class Request:
    """What one request asks for. `data` is the body as it came, still compressed as `encoding` says."""

    method: str
    values: Mapping[str, str]
    headers: Mapping[str, str]
    query: bytes
    data: memoryview
    encoding: str
    external: tuple[ExternalTable, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)

    @property
    def database(self) -> str | None:
        """The database asked for, in the query string or a header."""
        return self.values.get("database") or self.headers.get("x-clickhouse-database") or None

    @property
    def default_format(self) -> str:
        """The format of results whose statement names none."""
        given = self.values.get("default_format") or self.headers.get("x-clickhouse-format") or "TabSeparated"
        if not _FORMAT.fullmatch(given):
            raise ClickHouseError(73, f"Unknown format {given}", "UNKNOWN_FORMAT")
        return given

    @property
    def buffer_bytes(self) -> int | None:
        """How much of the answer to hold back before the first byte goes out; None for all of it.

        A client that says `wait_end_of_query=0` outright wants bytes as they come.
        """
        if self.flag("wait_end_of_query"):
            return None
        at_once = "wait_end_of_query" in self.values
        return self.number("buffer_size", 0 if at_once else BUFFER_BYTES)

    def flag(self, name: str) -> bool:
        """A yes or no of the query string."""
        return self.values.get(name, "0").lower() in ("1", "true", "yes")

    def number(self, name: str, default: int) -> int:
        """A number of the query string.

        Raises:
            ClickHouseError: 36 if it is none.
        """
        text = self.values.get(name, "")
        if text and not text.isdecimal():
            raise ClickHouseError(36, f"Invalid {name}: '{text}' is not a number", "BAD_ARGUMENTS")
        return int(text) if text else default


def parse_values(query_string: bytes) -> dict[str, str]:
    """The query string; bytes that are no UTF-8 stay as surrogates."""
    text = query_string.decode("latin-1")
    return dict(parse_qsl(text, keep_blank_values=True, encoding="utf-8", errors="surrogateescape"))


def credentials(values: Mapping[str, str], headers: Mapping[str, str]) -> tuple[str | None, str | None]:
    """User and password: headers of ClickHouse's own, else Basic, else the query string.

    Raises:
        ClickHouseError: 516 for a Basic header that cannot be read.
    """
    if name := headers.get("x-clickhouse-user"):
        return name, headers.get("x-clickhouse-key", "")
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            name, _, password = base64.b64decode(token.strip(), validate=True).decode().partition(":")
        except (binascii.Error, ValueError) as error:
            raise ClickHouseError(516, "Invalid Basic credentials", "AUTHENTICATION_FAILED") from error
        return name, password
    return values.get("user"), values.get("password")


def parse_request(method: str, values: Mapping[str, str], headers: Mapping[str, str], body: memoryview) -> Request:
    """Read a request. `headers` have names in lower case; `body` is as it came over the wire.

    Raises:
        ClickHouseError: for a query string or form that cannot be read.
    """
    external: tuple[ExternalTable, ...] = ()
    encoding = headers.get("content-encoding", "").strip().lower()
    media = headers.get("content-type", "")
    if media.lower().startswith("multipart/form-data"):
        fields, files = _multipart(media, bytes(body))
        values = {**values, **fields}
        external, body = tuple(_external(name, data, values) for name, data in files), memoryview(b"")
        values = {k: v for k, v in values.items() if not any(k.startswith(f"{t.name}_") for t in external)}
    query = values.get("query", "").encode("utf-8", "surrogateescape")
    for name in ("compress", "decompress"):
        if values.get(name, "0") not in ("0", "", "false"):
            text = f"{name}=1 (ClickHouse's own framing) is not offered here; use Content-Encoding and Accept-Encoding"
            raise ClickHouseError(48, text, "NOT_IMPLEMENTED")
    settings = {k: v for k, v in values.items() if not _RESERVED.fullmatch(k) and not k.startswith("param_")}
    for name in settings:
        if not _SETTING.fullmatch(name):
            raise ClickHouseError(115, f"Unknown setting '{name}'", "UNKNOWN_SETTING")
    params = {k.removeprefix("param_"): v for k, v in values.items() if k.startswith("param_")}
    for name in params:
        if not re.fullmatch(r"[\w$]{1,128}", name, re.ASCII):
            raise ClickHouseError(36, f"Invalid name of a query parameter: '{name}'", "BAD_ARGUMENTS")
    return Request(method, values, headers, query, body, encoding, external, settings, params)


def _external(name: str, data: bytes, values: Mapping[str, str]) -> ExternalTable:
    types = values.get(f"{name}_types")
    structure = values.get(f"{name}_structure")
    if structure is None and types is not None:
        structure = ", ".join(f"_{i} {kind}" for i, kind in enumerate(_split_types(types), 1))
    if structure is None:
        raise ClickHouseError(36, f"Neither {name}_structure nor {name}_types is given", "BAD_ARGUMENTS")
    fmt = values.get(f"{name}_format", "TabSeparated")
    if not _FORMAT.fullmatch(fmt):
        raise ClickHouseError(73, f"Unknown format {fmt}", "UNKNOWN_FORMAT")
    return ExternalTable(name, structure, fmt, memoryview(data))


def _split_types(types: str) -> list[str]:
    """Split `A, B(C, D)` at the commas outside brackets."""
    parts, depth = [""], 0
    for char in types:
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts]


def _multipart(media: str, body: bytes) -> tuple[dict[str, str], list[tuple[str, bytes]]]:
    """The fields and the files of a form (RFC 7578).

    Raises:
        ClickHouseError: 33 if the form does not end as a form ends.
    """
    match = re.search(r'boundary="?([^";,]+)"?', media, re.IGNORECASE)
    boundary = b"--" + (match[1].encode("latin-1") if match else b"")
    fields: dict[str, str] = {}
    files: list[tuple[str, bytes]] = []
    parts = (b"\r\n" + body).split(b"\r\n" + boundary)
    if match is None or len(parts) < 2 or not parts[-1].startswith(b"--"):
        raise ClickHouseError(33, "Cannot read all data: the form does not end", "CANNOT_READ_ALL_DATA")
    for part in parts[1:-1]:
        head, _, data = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        disposition = BytesHeaderParser().parsebytes(head + b"\r\n\r\n")
        name = disposition.get_param("name", header="content-disposition")
        filename = disposition.get_param("filename", header="content-disposition")
        if filename is not None:
            files.append((str(name), data))
        else:
            fields[str(name)] = data.decode("utf-8", "surrogateescape")
    return fields, files
