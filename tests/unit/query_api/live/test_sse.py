"""Server-Sent Events as they leave: heartbeats, reasons, ends."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.types import Message

from procurator.errors import Unavailable
from procurator.query_api.live import sse
from procurator.query_api.live.listeners import Dropped
from procurator.query_api.live.sse import EventStream, frame


async def serve(frames: AsyncIterator[bytes], gone_after: int | None = None) -> list[Message]:
    sent: list[Message] = []
    gone = asyncio.Event()

    async def send(message: Message) -> None:
        sent.append(message)
        if len(sent) == gone_after:
            gone.set()

    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    async with asyncio.timeout(10):
        await EventStream(frames)({"type": "http"}, receive, send)
    return sent


def body(sent: list[Message]) -> bytes:
    return b"".join(message["body"] for message in sent[1:])


def test_an_event_is_its_lines() -> None:
    assert frame("event", b'{"a":1}', "x") == b'id: x\nevent: event\ndata: {"a":1}\n\n'
    assert frame("delta", b"{}") == b"event: delta\ndata: {}\n\n"


async def test_a_stream_that_ends_is_a_whole_answer() -> None:
    async def frames() -> AsyncIterator[bytes]:
        yield b"one"
        yield b""
        yield b"two"

    sent = await serve(frames())
    assert dict(sent[0]["headers"])[b"content-type"] == b"text/event-stream; charset=utf-8"
    assert b"content-length" not in dict(sent[0]["headers"])
    assert body(sent) == b"retry: 1000\n\nonetwo"
    assert sent[-1]["more_body"] is False


@pytest.mark.parametrize(
    ("error", "reason"),
    [(Dropped("slow", "too slow"), "slow"), (Unavailable("ClickHouse is away"), "unavailable")],
)
async def test_a_stream_that_breaks_off_says_why(error: Exception, reason: str) -> None:
    async def frames() -> AsyncIterator[bytes]:
        yield b"one"
        raise error

    assert f'event: dropped\ndata: {{"reason":"{reason}","message":"{error}"}}\n\n'.encode() in body(
        await serve(frames())
    )


async def test_silence_is_filled_with_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "HEARTBEAT_S", 0.01)

    async def frames() -> AsyncIterator[bytes]:
        yield b"one"
        await asyncio.Event().wait()

    assert body(await serve(frames(), gone_after=6)).count(b": heartbeat\n\n") >= 2


async def test_whoever_goes_away_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = asyncio.Event()

    async def frames() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"more"
                await asyncio.sleep(0)
        finally:
            closed.set()

    await serve(frames(), gone_after=5)
    assert closed.is_set()


async def test_an_hour_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "STREAM_S_MAX", -1.0)

    async def frames() -> AsyncIterator[bytes]:
        while True:
            yield b"more"

    assert b'"reason":"renew"' in body(await serve(frames()))


async def test_a_connection_that_takes_nothing_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "STALL_S", 0.05)

    async def frames() -> AsyncIterator[bytes]:
        while True:
            yield b"more"

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async with asyncio.timeout(10):
        await EventStream(frames())({"type": "http"}, receive, send)
