"""IO: ClickHouse's HTTP interface, as far as we need it.

Nothing is retried here: a lost answer to an insert says nothing about the insert, so whoever sends one must look at
what stands in the table before sending again.

::

    Unavailable        no answer, a server that starts, is overloaded or out of room: try again later
    └── TooLate        the insert's deadline (``insert_by``) had passed when it reached the server: look, then decide
    UserError          user, password, database or table is not there: the message says what to do
    Fatal              the server understood and refused: our statement or our data is wrong
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx

from procurator.clickhouse_cluster import LEDGER_SETTINGS, altered
from procurator.config import Settings
from procurator.errors import Fatal, ProcuratorError, Unavailable, UserError

#: ClickHouse's error codes that a later attempt may not meet (src/Common/ErrorCodes.cpp).
_PASSING_CODES = frozenset(
    {
        3,  # UNEXPECTED_END_OF_FILE: the body broke off
        159,  # TIMEOUT_EXCEEDED
        202,  # TOO_MANY_SIMULTANEOUS_QUERIES
        203,  # NO_FREE_CONNECTION
        209,  # SOCKET_TIMEOUT
        210,  # NETWORK_ERROR
        225,  # NO_ZOOKEEPER
        236,  # ABORTED
        241,  # MEMORY_LIMIT_EXCEEDED
        242,  # TABLE_IS_READ_ONLY
        243,  # NOT_ENOUGH_SPACE
        252,  # TOO_MANY_PARTS
        279,  # ALL_CONNECTION_TRIES_FAILED: to a shard
        285,  # TOO_FEW_LIVE_REPLICAS
        286,  # UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE
        319,  # UNKNOWN_STATUS_OF_INSERT
        369,  # ALL_REPLICAS_ARE_STALE
        394,  # QUERY_WAS_CANCELLED
        425,  # SYSTEM_ERROR
        439,  # CANNOT_SCHEDULE_TASK
        999,  # KEEPER_EXCEPTION
    }
)
_USER_CODES = {
    60: "run `procurator setup`",  # UNKNOWN_TABLE
    81: "run `procurator setup`",  # UNKNOWN_DATABASE
    192: "check PROCURATOR_CLICKHOUSE_USER",  # UNKNOWN_USER
    193: "check PROCURATOR_CLICKHOUSE_PASSWORD",  # WRONG_PASSWORD
    194: "check PROCURATOR_CLICKHOUSE_PASSWORD",  # REQUIRED_PASSWORD
    497: "this user needs another role",  # ACCESS_DENIED
    701: "check PROCURATOR_CLICKHOUSE_CLUSTER",  # CLUSTER_DOESNT_EXIST
    516: "check PROCURATOR_CLICKHOUSE_USER and PROCURATOR_CLICKHOUSE_PASSWORD",  # AUTHENTICATION_FAILED
}
_THROW_IF = 395
_PIECE_BYTES = 256 * 1024

Params = Mapping[str, str | int | Sequence[str] | Sequence[int]]


class TooLate(Unavailable):
    """The server refused an insert because its deadline had passed; nothing was inserted."""


class ClickHouse:
    """One server (or its load balancer) and one database. Methods may be called from several threads."""

    def __init__(
        self, url: str, user: str, password: str, database: str, timeout_s: float = 60.0, cluster: str = ""
    ) -> None:
        self._url = url.rstrip("/") + "/"
        self.database = database
        #: Empty: a single server.
        self.cluster = cluster
        self._cluster_settings = LEDGER_SETTINGS if cluster else {}
        timeout = httpx.Timeout(timeout_s, connect=5.0)
        headers = {"X-ClickHouse-User": user, "X-ClickHouse-Key": password}
        self._client = httpx.Client(timeout=timeout, headers=headers, trust_env=False)

    @classmethod
    def of(cls, settings: Settings) -> "ClickHouse":
        """Return the client of the server that the settings name."""
        password = settings.clickhouse_password.get_secret_value()
        url, user, database = settings.clickhouse_url, settings.clickhouse_user, settings.clickhouse_database
        return cls(url, user, password, database, cluster=settings.clickhouse_cluster)

    def close(self) -> None:
        self._client.close()

    def altered(self, table: str) -> str:
        """Return what ``ALTER TABLE`` and a mutation of rows must name here."""
        return altered(table, self.cluster)

    def version(self) -> str:
        """Return the server's version; asks for nothing that an old server lacks, in format or setting."""
        return self._request({"database": ""}, "SELECT version()", b"").text.strip()

    def rows(self, sql: str, params: Params | None = None, database: str | None = None) -> list[list[Any]]:
        """Return the result's rows; 64-bit integers as numbers, binary strings only if the query makes them hex.

        ``params`` are bound by the server: ``{name:Type}`` in ``sql``.
        """
        settings = {"default_format": "JSONCompactEachRow", "output_format_json_quote_64bit_integers": "0"}
        answer = self._post(sql, b"", {**settings, **bound(params)}, database)
        return [json.loads(line) for line in answer.split("\n") if line]

    def arrow_stream(self, sql: str, params: Params | None = None) -> bytes:
        """Return the result as an Arrow stream: strings as bytes, LowCardinality as what it stands for."""
        settings = {
            "default_format": "ArrowStream",
            "output_format_arrow_string_as_string": "0",
            "output_format_arrow_low_cardinality_as_dictionary": "0",
            "output_format_arrow_compression_method": "none",
        }
        return self._send(sql, b"", {**settings, **bound(params)}, None).content

    def execute(
        self,
        sql: str,
        params: Params | None = None,
        database: str | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Run one statement that returns nothing."""
        self._post(sql, b"", {**(settings or {}), **bound(params)}, database)

    def insert(
        self,
        table: str,
        columns: Sequence[str],
        arrow_stream: bytes | memoryview,
        token: str = "",
    ) -> None:
        """Insert an Arrow stream of one record batch as one block; ``token`` makes it a compare-and-set.

        With a token that the table has seen already nothing is inserted, and no error says so.
        """
        settings = {
            "async_insert": "0",
            "insert_deduplication_token": token,
            "deduplicate_blocks_in_dependent_materialized_views": "1",
            # One record batch stays one block, whatever its size: another split would get past the token.
            "min_insert_block_size_rows": "0",
            "min_insert_block_size_bytes": "0",
            "max_insert_block_size": str(2**31),
            "max_insert_threads": "1",
            "input_format_parallel_parsing": "0",
        }
        sql = f"INSERT INTO {table} ({', '.join(columns)}) FORMAT ArrowStream"
        self._post(sql, arrow_stream, settings, None)

    def _post(self, sql: str, body: bytes | memoryview, settings: Mapping[str, str], database: str | None) -> str:
        return self._send(sql, body, settings, database).text

    def _send(
        self, sql: str, body: bytes | memoryview, settings: Mapping[str, str], database: str | None
    ) -> httpx.Response:
        params = {
            "database": self.database if database is None else database,
            "wait_end_of_query": "1",
            **self._cluster_settings,
            **settings,
        }
        return self._request(params, sql, body)

    def _request(self, params: Mapping[str, str], sql: str, body: bytes | memoryview) -> httpx.Response:
        try:
            if body:
                length = {"Content-Length": str(len(body))}
                response = self._client.post(
                    self._url, params={**params, "query": sql}, content=_pieces(body), headers=length
                )
            else:
                response = self._client.post(self._url, params=params, content=sql.encode())
        except (httpx.TransportError, OSError) as error:
            raise Unavailable(f"ClickHouse at {self._url} does not answer: {error or type(error).__name__}") from error
        if refused := refusal(self._url, response):
            raise refused
        return response


def _pieces(body: bytes | memoryview) -> Iterator[bytes]:
    """Yield a body bit by bit: handed over whole, httpcore would copy all that is left after each write."""
    for start in range(0, len(body), _PIECE_BYTES):
        yield bytes(body[start : start + _PIECE_BYTES])


def refusal(url: str, response: httpx.Response) -> ProcuratorError | None:
    """Return the error that ClickHouse's answer stands for (see the tree above), None when it is a result."""
    code = int(response.headers.get("X-ClickHouse-Exception-Code", 0))
    if not code and not response.is_error:
        return None
    message = f"ClickHouse at {url}: {response.text.strip()[:500] or response.status_code}"
    if code in _USER_CODES:
        return UserError(f"{message} ({_USER_CODES[code]})")
    if code == _THROW_IF:
        return TooLate(message)
    if code in _PASSING_CODES or (code == 0 and response.status_code >= 500):
        return Unavailable(message)
    return Fatal(message)


def bound(params: Params | None) -> dict[str, str]:
    """Return the settings that bind ``params`` to the ``{name:Type}`` of a statement."""
    return {f"param_{name}": _text(value) for name, value in (params or {}).items()}


def _text(value: str | int | Sequence[str] | Sequence[int]) -> str:
    """Return a parameter's value as ClickHouse reads it: the TSV escapes, arrays of quoted strings."""
    if isinstance(value, str):
        return value.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\0", "\\0")
    if isinstance(value, int):
        return str(value)
    return "[" + ",".join(str(item) if isinstance(item, int) else _quoted(item) for item in value) + "]"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
