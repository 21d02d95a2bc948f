"""IO: the application behind a socket, until a signal asks for its end."""

import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from procurator.errors import UserError
from procurator.runtime import announce_ready

#: How long requests may take to finish once the stop was asked for.
GRACE_S = 3


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self.on_stop = on_stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        announce_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.on_stop()
        await super().shutdown(sockets)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 takes a free one. Raises UserError when it cannot."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        reason = str(error.strerror or error).partition(" (while")[0]
        raise UserError(
            f"cannot listen on {host}:{port}: {reason}; set PROCURATOR_API_HOST and PROCURATOR_API_PORT"
        ) from error


def serve(
    app: ASGIApp, listener: socket.socket, trusted_proxies: str = "", on_stop: Callable[[], None] = lambda: None
) -> None:
    """Serve until SIGTERM or SIGINT; requests in flight get `GRACE_S` to finish, ``on_stop`` asks streams to end.

    A caller's address is the connection's, unless that is one of ``trusted_proxies`` (separated by commas): those say
    it in X-Forwarded-For.

    uvicorn raises the signal again when it is done, so the caller must handle it (see `procurator.runtime.Stop`).
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=trusted_proxies or None,
    )
    _Server(config, on_stop).run(sockets=[listener])
