"""Server-Sent Events: their text, and an answer that goes on until its stream ends.

Source: HTML Living Standard, 9.2.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress

import orjson
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from procurator.errors import Unavailable
from procurator.query_api.live.listeners import Dropped

_log = logging.getLogger(__name__)

HEARTBEAT_S = 10.0
#: A connection that takes nothing for so long is cut.
STALL_S = 30.0
#: Streams are renewed so that a key that was revoked meanwhile ends.
STREAM_S_MAX = 3600.0
#: What an EventSource waits before it connects again.
_RETRY = b"retry: 1000\n\n"
_HEARTBEAT = b": heartbeat\n\n"
_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would hold events back
}


class _Stalled(Exception):
    """The client takes nothing."""


def frame(event: str, data: bytes, id_: str | None = None) -> bytes:
    """Return one event. ``data`` is JSON, which has no line breaks."""
    head = b"" if id_ is None else b"id: " + id_.encode() + b"\n"
    return b"%bevent: %b\ndata: %b\n\n" % (head, event.encode(), data)


class EventStream(Response):
    """Sends what ``frames`` yields, heartbeats in between, until it ends, the client goes away or time is up."""

    def __init__(self, frames: AsyncIterator[bytes]) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._frames = frames

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve it. A client that is gone or stalls is no error."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        writer = asyncio.create_task(self._write(send))
        gone = asyncio.create_task(_until_gone(receive))
        try:
            await asyncio.wait({writer, gone}, return_when=asyncio.FIRST_COMPLETED)
            if writer.done():
                with suppress(_Stalled):  # the answer stays unfinished, so the server cuts the connection
                    writer.result()
        finally:
            for task in (writer, gone):
                task.cancel()
            await asyncio.gather(writer, gone, return_exceptions=True)

    async def _write(self, send: Send) -> None:
        until_s = asyncio.get_running_loop().time() + STREAM_S_MAX
        await _send(send, _RETRY)
        waiting: asyncio.Task[bytes] | None = None
        try:
            while True:
                waiting = waiting or asyncio.ensure_future(anext(self._frames))
                done, _ = await asyncio.wait({waiting}, timeout=HEARTBEAT_S)
                if done:
                    piece = waiting.result()
                    waiting = None
                    if piece:
                        await _send(send, piece)
                else:
                    await _send(send, _HEARTBEAT)
                if asyncio.get_running_loop().time() > until_s:
                    raise Dropped("renew", "this stream has lasted an hour; connect again to go on")
        except StopAsyncIteration:
            pass
        except Dropped as error:
            await _send(send, _dropped(error.reason, str(error)))
        except Unavailable as error:
            await _send(send, _dropped("unavailable", str(error)))
        finally:
            if waiting is not None:
                waiting.cancel()
                with suppress(asyncio.CancelledError, StopAsyncIteration, Dropped, Unavailable):
                    await waiting
            await self._frames.aclose()  # type: ignore[attr-defined]
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _dropped(reason: str, message: str) -> bytes:
    return frame("dropped", orjson.dumps({"reason": reason, "message": message}))


async def _send(send: Send, piece: bytes) -> None:
    message: Message = {"type": "http.response.body", "body": piece, "more_body": True}
    try:
        async with asyncio.timeout(STALL_S):
            await send(message)
    except TimeoutError as error:
        raise _Stalled from error


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
