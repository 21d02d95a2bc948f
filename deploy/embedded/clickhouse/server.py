"""ClickHouse's HTTP protocol in front of the engine: an ASGI application.

Results stream from a pipe that the engine writes, under back-pressure; nothing is sent until the answer is complete
or its first mebibyte (`buffer_size`) is there, so that most errors are an HTTP status. An error after that is a frame
in the body, and the connection is cut without the last chunk, as ClickHouse does. A client that goes away takes its
SELECT with it; what writes runs to its end, as in ClickHouse.
"""

import asyncio
import logging
import os
import tempfile
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import IO

from procurator.deploy.embedded.clickhouse.bodies import choose
from procurator.deploy.embedded.clickhouse.engine import Engine, Outcome
from procurator.deploy.embedded.clickhouse.replies import Reply, Server, send_plain
from procurator.deploy.embedded.clickhouse.request import (
    SESSION_TIMEOUT_S_MAX,
    Request,
    credentials,
    parse_request,
    parse_values,
)
from procurator.deploy.embedded.clickhouse.runner import Task, Verdicts
from procurator.deploy.embedded.clickhouse.sessions import Session, Sessions
from procurator.deploy.embedded.clickhouse.statement import Other, Select, format_of
from procurator.deploy.embedded.clickhouse.transport import (
    MEMORY_BYTES_MAX,
    PIPE_BYTES,
    ClientGone,
    Pipe,
    Receive,
    Scope,
    Send,
    read_body,
    until_gone,
)
from procurator.deploy.embedded.clickhouse.users import User, Users
from procurator.deploy.embedded.clickhouse.wire import ClickHouseError, Summary, new_tag

THREADS_MAX = 64
KILL_EVERY_S = 0.2

log = logging.getLogger(__name__)


class Endpoint:
    """The application. `stop` it in the event loop that serves it."""

    def __init__(self, engine: Engine, users: Users) -> None:
        self._engine, self._users = engine, users
        self._server = Server(engine.host, engine.timezone, engine.version)
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
            await send_plain(send, 200, b"Ok.\n")
        elif path not in ("/", "/query") or method not in ("GET", "HEAD", "POST"):
            await send_plain(send, 404, f"There is no handle {path}\n".encode())
        else:
            with suppress(ClientGone):
                await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        query_id, tag = str(uuid.uuid4()), new_tag()
        reply = Reply(self._server, query_id, tag)
        try:
            headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
            values = parse_values(scope["query_string"])
            reply = replace(reply, query_id=values.get("query_id") or query_id)
            user = self._users.authenticate(*credentials(values, headers))
            body = await read_body(receive)
            request = parse_request(scope["method"], values, headers, body)
            loop = asyncio.get_running_loop()
            large = len(body) > PIPE_BYTES
            make = (self._engine, self._verdicts, request, user, uuid.uuid4().hex)
            task = await loop.run_in_executor(self._pool, lambda: Task(*make)) if large else Task(*make)
            reply = replace(reply, encoding=_encoding(request), format=_format(task))
        except ClickHouseError as error:
            await reply.send_error(send, error, Summary())
            return
        await self._in_session(task, request, user, reply, receive, send)

    async def _in_session(
        self, task: Task, request: Request, user: User, reply: Reply, receive: Receive, send: Send
    ) -> None:
        session: Session | None = None
        session_id = request.values.get("session_id", "")
        try:
            if session_id:
                timeout_s = min(request.number("session_timeout", 60), SESSION_TIMEOUT_S_MAX)
                check = request.flag("session_check")
                session = self._sessions.acquire(user.name, session_id, timeout_s, must_exist=check)
        except ClickHouseError as error:
            await reply.send_error(send, error, Summary())
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

    async def _run(self, task: Task, job: "asyncio.Future[Outcome]", reply: Reply, send: Send) -> None:
        await asyncio.wait({job})
        error = _failure(job)
        if error:
            await reply.send_error(send, error, _summary(task))
        else:
            await reply.send_whole(send, job.result().body, _summary(task))

    async def _run_select(
        self, task: Task, job: "asyncio.Future[Outcome]", read_fd: int, reply: Reply, receive: Receive, send: Send
    ) -> None:
        loop = asyncio.get_running_loop()
        pipe = Pipe(loop, read_fd)
        watch = loop.create_task(until_gone(receive, pipe))
        try:
            await self._stream(task, job, pipe, reply, send)
        except ClientGone:
            await self._kill(task, job, pipe)
            raise
        finally:
            watch.cancel()
            pipe.close()
            await asyncio.wait({job})

    async def _stream(self, task: Task, job: "asyncio.Future[Outcome]", pipe: Pipe, reply: Reply, send: Send) -> None:
        """Hold the answer back until it is complete or larger than the client's buffer, then send it."""
        buffer_bytes = task.request.buffer_bytes
        with tempfile.SpooledTemporaryFile(MEMORY_BYTES_MAX) as held:
            size = 0
            more = True
            while more and (buffer_bytes is None or size <= buffer_bytes):
                piece = await pipe.read()
                more = bool(piece)
                held.write(piece)
                size += len(piece)
            error = None
            if not more:
                await asyncio.wait({job})
                error = _failure(job)
            held.seek(0)
            if error:
                await reply.send_error(send, error, _summary(task))
            elif not more and size <= MEMORY_BYTES_MAX:
                await reply.send_whole(send, held.read() or job.result().body, _summary(task))
            else:
                await reply.send_stream(send, _pieces(held, pipe if more else None, job), _summary(task))

    async def _kill(self, task: Task, job: "asyncio.Future[Outcome]", pipe: "Pipe") -> None:
        """Stop the query of a client that went away; it may not have begun, so ask until it has ended."""
        task.cancelled = True
        pipe.close()
        while not job.done():
            await asyncio.get_running_loop().run_in_executor(None, self._engine.kill, task.mark)
            await asyncio.wait({job}, timeout=KILL_EVERY_S)


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


async def _pieces(
    held: IO[bytes], pipe: Pipe | None, job: "asyncio.Future[Outcome]"
) -> AsyncIterator[bytes | ClickHouseError]:
    """What was held back, what the pipe still brings, and the error with which the query ended, if it did."""
    while piece := held.read(PIPE_BYTES):
        yield piece
    while pipe is not None and (piece := await pipe.read()):
        yield piece
    await asyncio.wait({job})
    if error := _failure(job):
        yield error
