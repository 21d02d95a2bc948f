"""The two ends of a request: its body as it comes from the client, its result as it comes from the engine."""

import asyncio
import fcntl
import os
import tempfile
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from mmap import ACCESS_READ, mmap
from typing import IO, Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MEMORY_BYTES_MAX = 256 << 20  # larger bodies and results go through a file
PIPE_BYTES = 1 << 20
SYSTEM_PIPE_BYTES = 1 << 16  # what a pipe holds at first; widening costs 0.1 ms, so only large results pay


class ClientGone(Exception):
    """The client closed its connection."""


class Pipe:
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
            ClientGone: after `abort`.
        """
        while True:
            if self._gone:
                raise ClientGone
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


async def until_gone(receive: Receive, pipe: Pipe) -> None:
    """Abort the pipe when the client hangs up."""
    while (await receive())["type"] != "http.disconnect":
        pass
    pipe.abort()


async def read_body(receive: Receive) -> memoryview:
    """The whole body as it came; a large one is a file mapped into memory.

    Raises:
        ClientGone: if it breaks off. Nothing of it has been used.
    """
    # One buffer that grows: parts kept until the end would take the memory twice, and the time to get it.
    held = bytearray()
    spill: Any = None
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        if spill is None and len(held) + len(part) > MEMORY_BYTES_MAX:
            spill = tempfile.TemporaryFile()  # noqa: SIM115 - it must outlive this function; the map holds it
            spill.write(held)
            held.clear()
        if spill is None:
            held += part
        else:
            spill.write(part)
        if not message.get("more_body"):
            break
    if spill is None:
        return memoryview(held)
    spill.flush()
    return memoryview(mmap(spill.fileno(), 0, access=ACCESS_READ))


def memory_file(size_bytes: int) -> IO[bytes]:
    """A file without a name for `size_bytes`: in memory where the system has such files, unless it is large."""
    if size_bytes <= MEMORY_BYTES_MAX and hasattr(os, "memfd_create"):
        return open(os.memfd_create("data"), "w+b")
    return tempfile.TemporaryFile()
