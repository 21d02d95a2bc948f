"""IO: ClickHouse as the API reads it: asyncio, over HTTP, one pool of connections, rows as dictionaries.

Values come as the API shows them, so that no row is converted in Python: times RFC 3339 in UTC with microseconds,
decimals as strings, integers as numbers.
"""

from time import monotonic
from typing import Any

import httpx
import orjson

from procurator.clickhouse import bound, refusal
from procurator.clickhouse_cluster import QUERY_SETTINGS
from procurator.config import Settings
from procurator.errors import Fatal, Unavailable, UserError
from procurator.query_api.queries.base import Parameters, Query, Row
from procurator.query_api.search.begun import WordsBegun, too_long

_SETTINGS = {
    "default_format": "JSONEachRow",
    "output_format_json_array_of_rows": "1",
    "output_format_json_quote_64bit_integers": "0",
    "output_format_json_quote_decimals": "1",
    "date_time_output_format": "iso",
    # The answer is held back until it is whole, so that an error is never a row.
    "wait_end_of_query": "1",
    # Our joins are written in the order that is best; to look for a better one takes as long as the query.
    "query_plan_optimize_join_order_limit": "0",
}
#: How long the words that begin in some way are taken to be those that were read, and how many beginnings are kept.
_BEGUN_KEPT_S = 1.0
_BEGUN_MAX = 100
#: Tables that must be there before the API can answer.
_READY = (
    "SELECT count() AS found FROM system.tables WHERE database = {database:String} AND name IN ('events', 'sessions')"
)


class Store:
    """One ClickHouse server (or its load balancer) and one database, as a user who may only read."""

    def __init__(self, settings: Settings, timeout_s: float = 20.0, connections_max: int = 32) -> None:
        self._url = settings.clickhouse_url.rstrip("/") + "/"
        self._database = settings.clickhouse_database
        self._begun: dict[WordsBegun, tuple[float, tuple[str, ...]]] = {}
        self._client = httpx.AsyncClient(
            headers={
                "X-ClickHouse-User": settings.clickhouse_user,
                "X-ClickHouse-Key": settings.clickhouse_password.get_secret_value(),
            },
            params={
                **_SETTINGS,
                **(QUERY_SETTINGS if settings.clickhouse_cluster else {}),
                "database": self._database,
                "max_execution_time": str(int(timeout_s)),
            },
            timeout=httpx.Timeout(timeout_s, connect=2.0),
            limits=httpx.Limits(max_connections=connections_max, max_keepalive_connections=connections_max),
            trust_env=False,
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def rows(self, query: Query) -> list[Row]:
        """Return the rows that answer ``query``.

        Raises Unavailable when ClickHouse does not answer, is overloaded, lets us not in or has no tables yet.
        """
        sql, parameters = query.to_sql()
        return await self._select(sql, await self.resolved(parameters))

    async def resolved(self, parameters: Parameters) -> Parameters:
        """Return the parameters, the words in place of each `WordsBegun`. Raises SearchError when too many begin so."""
        return {
            name: await self._words(value) if isinstance(value, WordsBegun) else value
            for name, value in parameters.items()
        }

    async def _words(self, begun: WordsBegun) -> tuple[str, ...]:
        """Return the words; the statements of one request ask for the same ones."""
        read_at_s, words = self._begun.get(begun, (-_BEGUN_KEPT_S, ()))
        if monotonic() - read_at_s > _BEGUN_KEPT_S:
            words = begun.checked(row["token"] for row in await self._select(*begun.to_sql()))
            if len(self._begun) >= _BEGUN_MAX:
                self._begun.clear()
            self._begun[begun] = monotonic(), words
        return words

    async def check(self) -> None:
        """Raise Unavailable unless queries can be answered."""
        [row] = await self._select(_READY, {"database": self._database})
        if row["found"] != 2:
            raise Unavailable(f"database {self._database} has no ledger yet: run `procurator setup`")

    async def _select(self, sql: str, parameters: dict[str, Any]) -> list[Row]:
        try:
            response = await self._post(sql, bound(parameters))
        except httpx.InvalidURL as error:
            raise too_long("q", "q=reimburse*") from error
        except httpx.TransportError as error:
            raise Unavailable(f"ClickHouse at {self._url} does not answer: {error or type(error).__name__}") from error
        refused = refusal(self._url, response)
        if isinstance(refused, UserError):
            # Whoever called the API cannot mend the server's settings: to them it is away until somebody has.
            raise Unavailable(str(refused)) from refused
        if refused:
            raise refused
        try:
            rows: list[Row] = orjson.loads(response.content)
        except orjson.JSONDecodeError as error:
            raise Fatal(f"ClickHouse at {self._url} answered no JSON: {response.text[:300]}") from error
        return rows

    async def _post(self, sql: str, params: dict[str, str]) -> httpx.Response:
        try:
            return await self._client.post(self._url, params=params, content=sql.encode())
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            # The server had closed an idle connection. A query changes nothing, so it may be sent again.
            return await self._client.post(self._url, params=params, content=sql.encode())
