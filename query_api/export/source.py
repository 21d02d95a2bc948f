"""IO: what an export reads of ClickHouse, streamed, in a way that readers do not notice: one thread, low priority."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pyarrow as pa

from procurator.clickhouse import bound, refusal
from procurator.config import Settings
from procurator.errors import ProcuratorError, Unavailable
from procurator.query_api.export.job import FileFormat
from procurator.query_api.local import is_local
from procurator.query_api.queries.base import Parameters, Query
from procurator.query_api.search.begun import WordsBegun, too_long

_TIMEOUT_S = 120.0
_PIECE_BYTES = 1 << 20
_SETTINGS = {
    "max_threads": "1",
    # Some 3 MB: what the connection holds, so that the next block is made while this one is written.
    "max_block_size": "1024",
    # 0, the readers', waits for nobody.
    "priority": "10",
    "output_format_json_quote_64bit_integers": "0",
    "output_format_json_quote_decimals": "1",
    "date_time_output_format": "iso",
    "output_format_parquet_compression_method": "zstd",
}
#: Some eight times as short: worth what it costs both ends where there is a network between them, and only there.
_COMPRESSED = {"enable_http_compression": "1", "http_zlib_compression_level": "1"}
FORMATS = {FileFormat.NDJSON: "JSONEachRow", FileFormat.PARQUET: "Parquet"}
#: TIMEOUT_EXCEEDED, MEMORY_LIMIT_EXCEEDED, QUERY_WAS_CANCELLED: of a query, and not of a server that is away.
_EXCEEDED_CODES = frozenset({"159", "241", "394"})


class Exceeded(Unavailable):
    """ClickHouse took a query and did not answer it to the end: the next time may end as this one."""


class ExportSource:
    """One ClickHouse database, over a connection of its own."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.clickhouse_url.rstrip("/") + "/"
        far = {} if is_local(httpx.URL(self._url).host) else _COMPRESSED
        self._client = httpx.Client(
            headers={
                "X-ClickHouse-User": settings.clickhouse_user,
                "X-ClickHouse-Key": settings.clickhouse_password.get_secret_value(),
            },
            params={**_SETTINGS, **far, "database": settings.clickhouse_database},
            timeout=httpx.Timeout(_TIMEOUT_S, connect=5.0),
            trust_env=False,
        )
        self._client.headers["Accept-Encoding"] = "zstd"

    def close(self) -> None:
        self._client.close()

    @contextmanager
    def rows(self, query: Query, format: FileFormat) -> Iterator[Iterator[bytes]]:
        """Give the answer to ``query`` piece by piece.

        Raises Unavailable when ClickHouse is away, Exceeded when it took the query and was too slow, met a limit or
        broke off its answer, SearchError when too many words begin as the query asks.
        """
        sql, parameters = query.to_sql()
        is_answering = False
        try:
            params = {**bound(self._resolved(parameters)), "default_format": FORMATS[format]}  # type: ignore[arg-type]
            with self._client.stream("POST", self._url, params=params, content=sql.encode()) as response:
                if response.is_error or "X-ClickHouse-Exception-Code" in response.headers:
                    response.read()
                    raise self._refused(response) or Unavailable(f"ClickHouse answered {response.status_code}")
                is_answering = True
                yield _plain(response)
        except httpx.InvalidURL as error:
            raise too_long("filter", "reimburse*") from error
        except httpx.ReadTimeout as error:
            raise Exceeded(f"ClickHouse at {self._url} sent nothing for {_TIMEOUT_S:g} s") from error
        except httpx.TransportError as error:
            why = str(error) or type(error).__name__
            if is_answering:
                raise Exceeded(f"ClickHouse at {self._url} broke off its answer: {why}") from error
            # A proxy whose server is away may accept a connection and cut it: that is an outage too.
            raise Unavailable(f"ClickHouse at {self._url} does not answer: {why}") from error

    def _resolved(self, parameters: Parameters) -> Parameters:
        """Return the parameters, the words in place of each `WordsBegun`."""
        return {
            name: self._words(value) if isinstance(value, WordsBegun) else value for name, value in parameters.items()
        }

    def _words(self, begun: WordsBegun) -> tuple[str, ...]:
        sql, parameters = begun.to_sql()
        params = {**bound(parameters), "default_format": "TSV"}  # type: ignore[arg-type]
        response = self._client.post(self._url, params=params, content=sql.encode())
        if refused := self._refused(response):
            raise refused
        return begun.checked(response.text.split())

    def _refused(self, response: httpx.Response) -> ProcuratorError | None:
        refused = refusal(self._url, response)
        if refused and response.headers.get("X-ClickHouse-Exception-Code") in _EXCEEDED_CODES:
            return Exceeded(str(refused))
        return refused


class _Raw:
    """The body as a file, as it comes."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""
        self.closed = False

    def read(self, size: int) -> bytes:
        while len(self._rest) < size and (piece := next(self._pieces, b"")):
            self._rest += piece
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def close(self) -> None:
        self.closed = True


def _plain(response: httpx.Response) -> Iterator[bytes]:
    """Yield the body decompressed. By pyarrow, which does it without holding the readers' threads up."""
    pieces = response.iter_raw()
    if response.headers.get("Content-Encoding") != "zstd":
        yield from pieces
        return
    with pa.CompressedInputStream(pa.PythonFile(_Raw(pieces), mode="r"), "zstd") as stream:
        while piece := _next(stream):
            yield piece


def _next(stream: Any) -> bytes:
    try:
        piece: bytes = stream.read(_PIECE_BYTES)
    except OSError as error:  # cut short; what the connection itself raises comes as it is
        raise Exceeded(f"ClickHouse broke off its answer: {error}") from error
    return piece
