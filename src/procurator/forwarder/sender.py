"""IO: one HTTP request to an address chosen by a stranger, as safely as it can be made.

The name is resolved once, each of its addresses is checked (`procurator.webhooks.addresses`), and the connection is
made to a checked address; TLS asks for the name and checks the certificate against it. No redirect is followed, no
proxy used, the answer read as far as a bound, and everything together has one deadline.
"""

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpcore

from procurator.webhooks.addresses import AddressPolicy, parse_url

_log = logging.getLogger(__name__)

#: Host and port → addresses of IPv4 or IPv6.
Resolve = Callable[[str, int], Awaitable[list[str]]]
_RESOLVERS = 64
_RESOLVERS_OF_ONE = 4


@dataclass(frozen=True)
class SendPolicy:
    """Bounds of one delivery: seconds from connecting to the answer's end; bytes of the answer that are looked at."""

    deadline_s: float = 15.0
    answer_bytes_max: int = 16_384
    keep_alive_s: float = 30.0
    message_chars_max: int = 300


@dataclass(frozen=True)
class Answer:
    """What came back. ``status`` None: nothing did, and ``message`` says why; otherwise it is the body's beginning."""

    status: int | None
    message: str
    retry_after: str | None = None
    latency_ms: float = 0.0

    def __str__(self) -> str:
        return self.message if self.status is None else f"{self.status}: {self.message}"


class Resolver:
    """Looks names up in threads of its own.

    An organisation has a few of them at once, so that name servers that hang hold up its own deliveries alone.
    """

    def __init__(self, look_up: Callable[..., Iterable[tuple[Any, ...]]] = socket.getaddrinfo) -> None:
        self._look_up = look_up
        self._threads = ThreadPoolExecutor(_RESOLVERS, "resolve")
        self._turns: dict[str | None, asyncio.Semaphore] = {}

    def of(self, org_id: str | None) -> Resolve:
        """Return what looks names up for an organisation's endpoints (None: the operator's)."""
        return partial(self._addresses, self._turns.setdefault(org_id, asyncio.Semaphore(_RESOLVERS_OF_ONE)))

    async def _addresses(self, turns: asyncio.Semaphore, host: str, port: int) -> list[str]:
        """Return the addresses of a host. Raises OSError when it has none."""
        loop = asyncio.get_running_loop()

        def done(_: Any) -> None:
            with suppress(RuntimeError):  # the loop has ended: nobody waits any more
                loop.call_soon_threadsafe(turns.release)

        await turns.acquire()
        answer = self._threads.submit(self._look_up, host, port, type=socket.SOCK_STREAM)
        # Not when the caller gives up: the thread is held until the name server has.
        answer.add_done_callback(done)
        return list(dict.fromkeys(str(each[4][0]) for each in await asyncio.wrap_future(answer)))

    def close(self) -> None:
        """Stop; look-ups under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class Sender:
    """Posts to one URL over at most one connection, which is kept alive in between."""

    def __init__(
        self,
        url: str,
        addresses: AddressPolicy,
        resolve: Resolve,
        tls: ssl.SSLContext,
        policy: SendPolicy,
    ) -> None:
        self.url = url
        self._policy = policy
        target = parse_url(url)
        path, port = target.path.encode(), target.port
        scheme = b"https" if target.secure else b"http"
        self._url = httpcore.URL(scheme=scheme, host=target.host.encode(), port=port, target=path)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=1,
            keepalive_expiry=self._policy.keep_alive_s,
            network_backend=_Checked(addresses, target.secure, resolve),
        )

    async def post(self, headers: dict[str, str], body: bytes) -> Answer:
        """Return the answer; whatever goes wrong is an answer without a status."""
        began_s = time.monotonic()
        try:
            async with asyncio.timeout(self._policy.deadline_s):
                status, retry_after, text = await self._post(headers, body)
        except TimeoutError:
            message = f"no whole answer within {self._policy.deadline_s:g} s"
            return Answer(None, message, latency_ms=_since_ms(began_s))
        except (OSError, ValueError, httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
            return Answer(None, str(error) or type(error).__name__, latency_ms=_since_ms(began_s))
        message = text.decode("utf-8", "replace")[: self._policy.message_chars_max]
        return Answer(status, message, retry_after, _since_ms(began_s))

    async def close(self) -> None:
        """Close the connection."""
        await self._pool.aclose()

    async def _post(self, headers: dict[str, str], body: bytes) -> tuple[int, str | None, bytes]:
        async with self._pool.stream("POST", self._url, headers=list(headers.items()), content=body) as response:
            found = {name.lower(): value for name, value in response.headers}
            text = b""
            async for piece in response.aiter_stream():
                text += piece
                if len(text) > self._policy.answer_bytes_max:
                    break  # the connection is closed, since the answer has not ended
            retry_after = found.get(b"retry-after")
            return response.status, None if retry_after is None else retry_after.decode("latin-1"), text


class _Checked(httpcore.AsyncNetworkBackend):
    """Connects to addresses that the policy allows, and to no others."""

    def __init__(self, addresses: AddressPolicy, secure: bool, resolve: Resolve) -> None:
        self._addresses = addresses
        self._secure = secure
        self._resolve = resolve
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        found = await self._resolve(host, port)
        for address in found:
            if refusal := self._addresses.refusal(address, self._secure):
                # Whoever defines webhooks is not told what the names in our network resolve to.
                _log.warning("webhook: %s is not connected to: %s %s", host, address, refusal)
                raise OSError(f"{host} is not connected to: what it resolves to {refusal}")
        problem: httpcore.ConnectError = httpcore.ConnectError(f"{host} has no address")
        for address in found:
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except httpcore.ConnectError as error:
                problem = error
        raise problem


def _since_ms(began_s: float) -> float:
    return (time.monotonic() - began_s) * 1000
