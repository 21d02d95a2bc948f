"""ClickHouse's HTTP protocol in front of the engine: an ASGI application.

Results stream from a pipe that the engine writes, under back-pressure; nothing is sent until the answer is complete
or its first mebibyte (`buffer_size`) is there, so that most errors are an HTTP status. An error after that is a frame
in the body, and the connection is cut without the last chunk, as ClickHouse does. A client that goes away takes its
SELECT with it; what writes runs to its end, as in ClickHouse.
"""

import asyncio
import fcntl
import logging
import os
import tempfile
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from typing import Any

from procurator.deploy.embedded.clickhouse.bodies import Encoder, choose
from procurator.deploy.embedded.clickhouse.engine import Engine, Outcome
from procurator.deploy.embedded.clickhouse.request import SESSION_TIMEOUT_S_MAX, Request, parse_request
from procurator.deploy.embedded.clickhouse.runner import MEMORY_BYTES_MAX, Task, Verdicts
from procurator.deploy.embedded.clickhouse.sessions import Session, Sessions
from procurator.deploy.embedded.clickhouse.statement import Other, Select, format_of
from procurator.deploy.embedded.clickhouse.users import User, Users
from procurator.deploy.embedded.clickhouse.wire import (
    ClickHouseError,
    Summary,
    content_type,
    late_error,
    new_tag,
)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

THREADS_MAX = 64
PIPE_BYTES = 1 << 20
SYSTEM_PIPE_BYTES = 1 << 16  # what a pipe holds at first; widening costs 0.1 ms, so only large results pay
KILL_EVERY_S = 0.2

log = logging.getLogger(__name__)


class _ClientGone(Exception):
    """The client closed its connection."""


@dataclass(frozen=True)
class _Reply:
    """What is known of an answer before its body: the request's, to be completed with the numbers."""

    query_id: str
    tag: str
    encoding: str | None
    format: str | None


class Endpoint:
    """The application. `start` it in the event loop that serves it, `stop` it there."""

    def __init__(self, engine: Engine, users: Users) -> None:
        self._engine, self._users = engine, users
        self._sessions = Sessions(engine.connect)
        self._verdicts = Verdicts()
        self._pool = ThreadPoolExecutor(THREADS_MAX, "query")

    async def stop(self) -> None:
        """Wait for nothing: cancel what runs, close sessions."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._sessions.close_all()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        path, method = scope["path"], scope["method"]
        if path in ("/ping", "/replicas_status") or (path == "/" and not scope["query_string"] and method == "GET"):
            await _send_plain(send, 200, b"Ok.\n")
        elif path not in ("/", "/query") or method not in ("GET", "HEAD", "POST"):
            await _send_plain(send, 404, f"There is no handle {path}\n".encode())
        else:
            with suppress(_ClientGone):
                await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        query_id, tag = str(uuid.uuid4()), new_tag()
        reply = _Reply(query_id, tag, None, None)
        try:
            headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
            body = await _read_body(receive)
            request = parse_request(scope["method"], scope["query_string"], headers, body)
            reply = _Reply(request.values.get("query_id") or query_id, tag, None, None)
            user = self._users.authenticate(*request.credentials)
            loop = asyncio.get_running_loop()
            large = len(body) > PIPE_BYTES
            make = (self._engine, self._verdicts, request, user, uuid.uuid4().hex)
            task = await loop.run_in_executor(self._pool, lambda: Task(*make)) if large else Task(*make)
            reply = _Reply(reply.query_id, tag, _encoding(request), _format(task))
        except ClickHouseError as error:
            await self._send_error(send, reply, error, Summary())
            return
        await self._in_session(task, request, user, reply, receive, send)

    async def _in_session(
        self, task: Task, request: Request, user: User, reply: _Reply, receive: Receive, send: Send
    ) -> None:
        session: Session | None = None
        session_id = request.values.get("session_id", "")
        try:
            if session_id:
                timeout_s = min(request.number("session_timeout", 60), SESSION_TIMEOUT_S_MAX)
                check = request.flag("session_check")
                session = self._sessions.acquire(user.name, session_id, timeout_s, must_exist=check)
        except ClickHouseError as error:
            await self._send_error(send, reply, error, Summary())
            return

        def release(_: object) -> None:
            if session is not None:
                self._sessions.release(session)
                if request.flag("close_session"):
                    self._sessions.close(user.name, session_id)

        is_select = isinstance(task.statement, Select)
        read_fd, write_fd = os.pipe() if is_select else (None, None)
        job = asyncio.get_running_loop().run_in_executor(self._pool, task.run, session, write_fd)
        # Before the answer is complete: a client that has it may use the session again at once.
        job.add_done_callback(release)
        if read_fd is None:
            await self._run(task, job, reply, send)
        else:
            await self._run_select(task, job, read_fd, reply, receive, send)

    async def _run(self, task: Task, job: "asyncio.Future[Outcome]", reply: _Reply, send: Send) -> None:
        await asyncio.wait({job})
        error = _failure(job)
        if error:
            await self._send_error(send, reply, error, _summary(task))
        else:
            await self._send_whole(send, reply, job.result().body, _summary(task))

    async def _run_select(
        self, task: Task, job: "asyncio.Future[Outcome]", read_fd: int, reply: _Reply, receive: Receive, send: Send
    ) -> None:
        loop = asyncio.get_running_loop()
        pipe = _Pipe(loop, read_fd)
        watch = loop.create_task(_until_gone(receive, pipe))
        try:
            await self._stream(task, job, pipe, task.request.buffer_bytes, reply, send)
        except _ClientGone:
            await self._kill(task, job, pipe)
            raise
        finally:
            watch.cancel()
            pipe.close()
            await asyncio.wait({job})

    async def _stream(
        self,
        task: Task,
        job: "asyncio.Future[Outcome]",
        pipe: "_Pipe",
        buffer_bytes: int | None,
        reply: _Reply,
        send: Send,
    ) -> None:
        with tempfile.SpooledTemporaryFile(MEMORY_BYTES_MAX) as held:
            size = 0
            more = True
            while more and (buffer_bytes is None or size <= buffer_bytes):
                piece = await pipe.read()
                more = bool(piece)
                held.write(piece)
                size += len(piece)
            if not more:
                await asyncio.wait({job})
                error = _failure(job)
                if error:
                    await self._send_error(send, reply, error, _summary(task))
                    return
            held.seek(0)
            if not more and size <= MEMORY_BYTES_MAX:
                await self._send_whole(send, reply, held.read() or job.result().body, _summary(task))
                return
            await self._send_stream(task, job, pipe if more else None, held, reply, send)

    async def _send_stream(
        self,
        task: Task,
        job: "asyncio.Future[Outcome]",
        pipe: "_Pipe | None",
        held: Any,
        reply: _Reply,
        send: Send,
    ) -> None:
        encoder = Encoder(reply.encoding) if reply.encoding else None
        await send({"type": "http.response.start", "status": 200, "headers": self._headers(reply, _summary(task))})

        async def forward(piece: bytes) -> None:
            if encoder is not None:
                piece = await asyncio.get_running_loop().run_in_executor(None, encoder.feed, piece)
            if piece:
                await send({"type": "http.response.body", "body": piece, "more_body": True})

        while piece := held.read(PIPE_BYTES):
            await forward(piece)
        while pipe is not None and (piece := await pipe.read()):
            await forward(piece)
        await asyncio.wait({job})
        error = _failure(job)
        if error:
            await forward(late_error(error.body(self._engine.version), reply.tag))
        end = encoder.end() if encoder else b""
        if error:
            await send({"type": "http.response.body", "body": end, "more_body": True})
            log.info("query %s failed late; its connection is cut: %s", reply.query_id, error)
            return  # without the last chunk: the server cuts the connection, and no client takes this for whole
        await send({"type": "http.response.body", "body": end})

    async def _kill(self, task: Task, job: "asyncio.Future[Outcome]", pipe: "_Pipe") -> None:
        """Stop the query of a client that went away; it may not have begun, so ask until it has ended."""
        task.cancelled = True
        pipe.close()
        while not job.done():
            await asyncio.get_running_loop().run_in_executor(None, self._engine.kill, task.mark)
            await asyncio.wait({job}, timeout=KILL_EVERY_S)

    def _headers(self, reply: _Reply, summary: Summary) -> list[tuple[bytes, bytes]]:
        headers = [
            ("content-type", content_type(reply.format or "TabSeparated")),
            ("x-clickhouse-query-id", reply.query_id),
            ("x-clickhouse-server-display-name", self._engine.host),
            ("x-clickhouse-timezone", self._engine.timezone),
            ("x-clickhouse-exception-tag", reply.tag),
            ("x-clickhouse-summary", summary.header()),
        ]
        if reply.format:
            headers.append(("x-clickhouse-format", reply.format))
        if reply.encoding:
            headers.append(("content-encoding", reply.encoding))
        return [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers]

    async def _send_whole(self, send: Send, reply: _Reply, body: bytes, summary: Summary) -> None:
        summary.update({"result_bytes": len(body)})
        if reply.encoding and body:
            encoder = Encoder(reply.encoding)
            body = encoder.feed(body) + encoder.end()
        elif reply.encoding:
            reply = _Reply(reply.query_id, reply.tag, None, reply.format)
        headers = self._headers(reply, summary)
        headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _send_error(self, send: Send, reply: _Reply, error: ClickHouseError, summary: Summary) -> None:
        body = error.body(self._engine.version)
        headers = self._headers(_Reply(reply.query_id, reply.tag, None, None), summary)
        headers += [
            (b"x-clickhouse-exception-code", str(error.code).encode()),
            (b"content-length", str(len(body)).encode()),
        ]
        if error.status == 401:
            headers.append((b"www-authenticate", b'Basic realm="ClickHouse server HTTP API"'))
        await send({"type": "http.response.start", "status": error.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class _Pipe:
    """The reading end of a pipe, in the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int) -> None:
        self._loop, self._fd, self._open = loop, fd, True
        self._waiter: asyncio.Future[None] | None = None
        self._gone = False
        os.set_blocking(fd, False)
        self._narrow = True

    async def read(self) -> bytes:
        """What is there, at least a byte; empty at the end.

        Raises:
            _ClientGone: after `abort`.
        """
        while True:
            if self._gone:
                raise _ClientGone
            try:
                piece = os.read(self._fd, PIPE_BYTES)
                if self._narrow and len(piece) >= SYSTEM_PIPE_BYTES:
                    self._narrow = False
                    _widen(self._fd)
                return piece
            except BlockingIOError:
                self._waiter = self._loop.create_future()
                self._loop.add_reader(self._fd, self._wake)
                try:
                    await self._waiter
                finally:
                    self._loop.remove_reader(self._fd)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def abort(self) -> None:
        """Let `read` raise."""
        self._gone = True
        self._wake()

    def close(self) -> None:
        """Give the end up; a writer then fails."""
        if self._open:
            self._open = False
            os.close(self._fd)


def _widen(fd: int) -> None:
    """Make the pipe as large as Linux lets a user; elsewhere leave it."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with suppress(OSError):
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


async def _until_gone(receive: Receive, pipe: _Pipe) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    pipe.abort()


async def _read_body(receive: Receive) -> memoryview:
    """The whole body as it came; a large one is a file mapped into memory.

    Raises:
        _ClientGone: if it breaks off. Nothing of it has been used.
    """
    parts: list[bytes] = []
    size = 0
    spill: Any = None
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _ClientGone
        part = message.get("body", b"")
        size += len(part)
        if spill is None and size > MEMORY_BYTES_MAX:
            spill = tempfile.TemporaryFile()  # noqa: SIM115 - it must outlive this function; the map holds it
            spill.writelines(parts)
        if spill is None:
            parts.append(part)
        else:
            spill.write(part)
        if not message.get("more_body"):
            break
    if spill is None:
        return memoryview(parts[0] if len(parts) == 1 else b"".join(parts))
    spill.flush()
    return memoryview(mmap(spill.fileno(), 0, access=ACCESS_READ))


def _encoding(request: Request) -> str | None:
    wanted = request.settings.get("enable_http_compression", "0").lower() in ("1", "true")
    return choose(request.headers.get("accept-encoding", "")) if wanted else None


def _format(task: Task) -> str | None:
    statement = task.statement
    if isinstance(statement, Select):
        return statement.format or task.request.default_format
    if isinstance(statement, Other) and statement.verb in ("SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN", "CHECK"):
        return format_of(statement.text) or task.request.default_format
    return None


def _summary(task: Task) -> Summary:
    return task.connection.summary if task.connection else Summary()


def _failure(job: "asyncio.Future[Outcome]") -> ClickHouseError | None:
    error = job.exception()
    if error is None or isinstance(error, ClickHouseError):
        return error
    log.error("a query failed in a way of its own", exc_info=error)
    return ClickHouseError(1002, f"{type(error).__name__}: {error}", "UNKNOWN_EXCEPTION")


async def _send_plain(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"text/plain; charset=UTF-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
