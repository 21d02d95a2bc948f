"""Serve a data directory: `python -m procurator.deploy.embedded.clickhouse --data-dir D --port P --users FILE`.

Prints one line on standard output when it answers, and one line on standard error if it cannot start (exit code 2).
SIGTERM and SIGINT stop it: requests get two seconds to end, then they are cut off.
"""

import argparse
import asyncio
import errno
import fcntl
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import uvicorn

from procurator.errors import UserError

GRACE_S = 2
CLOSE_S = 2


class _Server(uvicorn.Server):
    """uvicorn's server, which says `ready` once it listens, and returns from a signal instead of dying of it."""

    def __init__(self, config: uvicorn.Config, ready: str) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        sys.stdout.write(f"{self._ready}\n")
        sys.stdout.flush()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def main(argv: list[str] | None = None) -> int:
    """Run the server; the exit code."""
    options = _options(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        sock = _bind(options.host, options.port)
        lock = _lock(options.data_dir)
        return _serve(options, sock, lock)
    except UserError as error:
        sys.stderr.write(f"clickhouse: {error}\n")
        return 2


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("procurator.deploy.embedded.clickhouse", description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True, help="where the engine keeps its data")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--users", type=Path, required=True, help="the users file (JSON)")
    return parser.parse_args(argv)


def _bind(host: str, port: int) -> socket.socket:
    """Take the port before the engine starts, so that a taken port is told at once."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        taken = error.errno == errno.EADDRINUSE
        why = "the port is taken; choose another with --port" if taken else error.strerror
        raise UserError(f"cannot listen on {host}:{port}: {why}") from error
    return sock


def _lock(data_dir: Path) -> IO[str]:
    """Hold the data directory for this process; the kernel lets go when it dies."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        file = (data_dir / "endpoint.lock").open("a")
    except OSError as error:
        raise UserError(f"{data_dir}: cannot use the data directory: {error.strerror}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise UserError(f"{data_dir}: the data directory is in use by another process") from error
    return file


def _serve(options: argparse.Namespace, sock: socket.socket, lock: IO[str]) -> int:
    # Loading the engine takes half a second: only once the port and the directory are ours.
    from procurator.deploy.embedded.clickhouse.engine import Engine
    from procurator.deploy.embedded.clickhouse.server import Endpoint
    from procurator.deploy.embedded.clickhouse.users import Users
    from procurator.deploy.embedded.clickhouse.wire import ClickHouseError

    users = Users(options.users)
    try:
        engine = Engine(str(options.data_dir))
    except ClickHouseError as error:
        raise UserError(f"{options.data_dir}: the engine cannot open the data directory: {error}") from error
    endpoint = Endpoint(engine, users)
    config = uvicorn.Config(
        endpoint,
        http="httptools",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=30,
    )
    host, port = sock.getsockname()[:2]
    server = _Server(config, f"ready http://{host}:{port} (ClickHouse {engine.version})")

    async def run() -> None:
        for sign in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(sign, server.handle_exit, sign, None)
        await server.serve([sock])
        await endpoint.stop()

    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(run())
    # A merge or a cancelled query may hold the engine up. Everything acknowledged is in the data directory, which
    # opens after a SIGKILL too, so there is nothing to wait for.
    threading.Timer(CLOSE_S, os._exit, (0,)).start()
    engine.close()
    lock.close()
    logging.shutdown()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
