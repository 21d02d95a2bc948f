"""How soon an event is shown: from the SDK's call to the line that each of many listeners reads, on the whole stack.

Part of ``procurator bench live``. Sessions take turns; each has as many listeners, on real connections to the API's
``/v1/sessions/{id}/stream``. Every listener of every turn is one measurement.
"""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from procurator.deploy.embedded.stack import Stack
from procurator.errors import Unavailable
from procurator.producers import Procurator
from procurator.producers.session import Session

LISTENERS = 500
SESSIONS = 50
TURNS_PER_S = 50
_TURNS = 1_000
_READY_S = 120.0
_MARK = "@@"


@dataclass
class _Listeners:
    """What has been heard so far, in seconds from the call to the line."""

    latencies_s: list[float] = field(default_factory=list)
    joined: int = 0


def measure(stack: Stack) -> dict[str, Any]:
    """Return p50, p95 and p99 in ms over all listeners, how many there were, and how many lines were missed."""
    with Procurator(
        kafka_bootstrap_servers=stack.kafka, schema_registry_url=stack.registry_url, org_id="bench-sse", control=False
    ) as sdk:
        sessions = [sdk.session(agent="shown").start() for _ in range(SESSIONS)]
        for session in sessions:
            session.turn("user", "Begin.")
        sdk.flush()
        listeners = asyncio.run(_listen(stack, sessions))
        for session in sessions:
            session.end()
    expected = _TURNS * LISTENERS // SESSIONS
    ordered = sorted(listeners.latencies_s)
    shown = {f"p{p}": round(1000 * ordered[min(len(ordered) * p // 100, len(ordered) - 1)], 1) for p in (50, 95, 99)}
    return {**shown, "listeners": LISTENERS, "turns_per_s": TURNS_PER_S, "missed": expected - len(ordered)}


async def _listen(stack: Stack, sessions: list[Session]) -> _Listeners:
    heard = _Listeners()
    tasks = [
        asyncio.create_task(_listener(stack, sessions[number % SESSIONS].session_id, heard))
        for number in range(LISTENERS)
    ]
    until_s = time.monotonic() + _READY_S
    while heard.joined < LISTENERS:
        if time.monotonic() > until_s or any(task.done() for task in tasks):
            raise Unavailable(f"{heard.joined} of {LISTENERS} listeners joined within {_READY_S:.0f} s")
        await asyncio.sleep(0.1)
    await asyncio.to_thread(_take_turns, sessions)
    await asyncio.sleep(2.0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return heard


def _take_turns(sessions: list[Session]) -> None:
    begin = time.monotonic()
    for number in range(_TURNS):
        sessions[number % SESSIONS].turn("assistant", f"{_MARK}{time.monotonic_ns()}{_MARK}")
        time.sleep(max(0.0, begin + (number + 1) / TURNS_PER_S - time.monotonic()))


async def _listener(stack: Stack, session_id: str, heard: _Listeners) -> None:
    """Read a stream until it is cancelled; the session is not known to the API at first."""
    address = urlsplit(stack.api_url)
    request = (
        f"GET /v1/sessions/{session_id}/stream HTTP/1.1\r\nHost: {address.netloc}\r\n"
        f"Authorization: Bearer {stack.admin_key}\r\n\r\n"
    ).encode()
    while True:
        reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=1 << 20)
        try:
            writer.write(request)
            if b" 200 " in await reader.readline():
                await _read(reader, heard)
        finally:
            writer.close()
        await asyncio.sleep(0.5)


async def _read(reader: asyncio.StreamReader, heard: _Listeners) -> None:
    mark, is_new = _MARK.encode(), True
    while line := await reader.readline():
        if not line.startswith(b"data: "):
            continue
        if is_new and b"Begin." in line:
            heard.joined += 1
            is_new = False
        elif mark in line:
            sent_ns = int(line.split(mark)[1])
            heard.latencies_s.append((time.monotonic_ns() - sent_ns) / 1e9)
