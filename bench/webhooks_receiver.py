"""Receivers of webhooks in a process of their own: good ones, and ones that accept and never answer."""

import asyncio
import multiprocessing
import time
from datetime import datetime
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, Self

import orjson

#: Paths below it are never answered.
DEAD = "/dead"
_OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


class Arrivals(NamedTuple):
    """What came to good paths since the last question: entries, when the first and last came, each one's age then."""

    entries: int
    first_s: float
    last_s: float
    ages_ms: list[float]


class Receiver:
    """``with Receiver() as receiver: … receiver.port … receiver.take()``. ``ages`` costs reading every entry."""

    def __init__(self, ages: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, ages), daemon=True)
        self._process.start()
        self.port: int = self._ours.recv()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()

    def take(self) -> Arrivals:
        """Return what came since the last call, or since the start."""
        self._ours.send(None)
        return Arrivals(*self._ours.recv())


class _Server:
    def __init__(self, ages: bool) -> None:
        self._ages = ages
        self._clear()

    def take(self) -> tuple[Any, ...]:
        found = self._entries, self._first_s, self._last_s, self._ages_ms
        self._clear()
        return found

    def _clear(self) -> None:
        self._entries, self._first_s, self._last_s = 0, 0.0, 0.0
        self._ages_ms: list[float] = []

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection; just enough of HTTP/1.1 for what the forwarder sends."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                request, *lines = head.split("\r\n")
                headers = dict(line.split(": ", 1) for line in lines if line)
                body = await reader.readexactly(int(headers["content-length"]))
                if request.split(" ")[1].startswith(DEAD):
                    await asyncio.sleep(3_600)
                self._count(body)
                writer.write(_OK)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _count(self, body: bytes) -> None:
        now_s = time.time()
        self._first_s, self._last_s = self._first_s or now_s, now_s
        self._entries += body.count(b'{"sequence":')
        if self._ages:
            for item in orjson.loads(body)["items"]:
                sent_s = datetime.fromisoformat(item["broker_time"]).timestamp()
                self._ages_ms.append((now_s - sent_s) * 1000)


def _serve(pipe: Connection, ages: bool) -> None:
    async def run() -> None:
        counting = _Server(ages)
        server = await asyncio.start_server(counting.connected, "127.0.0.1", 0, limit=4 * 1024 * 1024)
        pipe.send(server.sockets[0].getsockname()[1])

        def answer() -> None:
            pipe.recv()
            pipe.send(counting.take())

        asyncio.get_running_loop().add_reader(pipe.fileno(), answer)
        await server.serve_forever()

    asyncio.run(run())
