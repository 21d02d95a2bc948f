"""Answers on their way to the client: whole, streamed, or an error."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from procurator.deploy.embedded.clickhouse.bodies import Encoder
from procurator.deploy.embedded.clickhouse.transport import Send
from procurator.deploy.embedded.clickhouse.wire import ClickHouseError, Summary, content_type, late_error

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Server:
    """What every answer says of the server."""

    host: str
    timezone: str
    version: str


@dataclass(frozen=True)
class Reply:
    """One answer: what is known of it before its body, and how its body is sent."""

    server: Server
    query_id: str
    tag: str
    encoding: str | None = None
    format: str | None = None

    def headers(self, summary: Summary) -> list[tuple[bytes, bytes]]:
        """The headers, with the numbers so far."""
        headers = [
            ("content-type", content_type(self.format or "TabSeparated")),
            ("x-clickhouse-query-id", self.query_id),
            ("x-clickhouse-server-display-name", self.server.host),
            ("x-clickhouse-timezone", self.server.timezone),
            ("x-clickhouse-exception-tag", self.tag),
            ("x-clickhouse-summary", summary.header()),
        ]
        if self.format:
            headers.append(("x-clickhouse-format", self.format))
        if self.encoding:
            headers.append(("content-encoding", self.encoding))
        return [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers]

    async def send_whole(self, send: Send, body: bytes, summary: Summary) -> None:
        """Send a complete answer."""
        summary.update({"result_bytes": len(body)})
        plain = self if body else replace(self, encoding=None)
        if plain.encoding:
            encoder = Encoder(plain.encoding)
            body = encoder.feed(body) + encoder.end()
        headers = [*plain.headers(summary), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def send_error(self, send: Send, error: ClickHouseError, summary: Summary) -> None:
        """Send an error in place of an answer."""
        body = error.body(self.server.version)
        headers = replace(self, encoding=None, format=None).headers(summary)
        headers += [
            (b"x-clickhouse-exception-code", str(error.code).encode()),
            (b"content-length", str(len(body)).encode()),
        ]
        if error.status == 401:
            headers.append((b"www-authenticate", b'Basic realm="ClickHouse server HTTP API"'))
        await send({"type": "http.response.start", "status": error.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def send_stream(self, send: Send, pieces: AsyncIterator[bytes | ClickHouseError], summary: Summary) -> None:
        """Send the pieces of an answer as they come; an error, which can only be the last of them, is framed.

        After an error the last chunk is left out: the server then cuts the connection, and no client takes the
        answer for whole.
        """
        encoder = Encoder(self.encoding) if self.encoding else None
        loop = asyncio.get_running_loop()
        await send({"type": "http.response.start", "status": 200, "headers": self.headers(summary)})
        failed = False
        async for piece in pieces:
            if isinstance(piece, ClickHouseError):
                failed = True
                log.info("query %s failed late; its connection is cut: %s", self.query_id, piece)
                piece = late_error(piece.body(self.server.version), self.tag)
            if encoder is not None:
                piece = await loop.run_in_executor(None, encoder.feed, piece)
            if piece:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        end = encoder.end() if encoder else b""
        if end or not failed:
            await send({"type": "http.response.body", "body": end, "more_body": failed})


async def send_plain(send: Send, status: int, body: bytes) -> None:
    """Send a line of text that no query gave."""
    headers = [(b"content-type", b"text/plain; charset=UTF-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
