"""A ClickHouse endpoint of its own: the real process on a directory and a port that nobody else uses."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

ROLES = ("admin", "writer", "reader", "finops", "purger")


@dataclass
class Endpoint:
    """A running endpoint. Every role is a user of its name, whose password is `<role>-password`."""

    data_dir: Path
    process: subprocess.Popen[str] = field(init=False)
    url: str = field(init=False, default="")
    client: httpx.Client = field(init=False)

    def start(self, *arguments: str) -> None:
        """Start the process and wait for its `ready` line."""
        users = self.data_dir.with_suffix(".json")
        if not users.exists():
            users.write_text(json.dumps({"users": {role: _entry(role) for role in ROLES}}))
        command = [sys.executable, "-m", "procurator.deploy.embedded.clickhouse", "--data-dir", str(self.data_dir)]
        command += ["--port", "0", "--users", str(users), *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("ready http://"), line
        self.url = line.split()[1]
        self.client = httpx.Client(timeout=60)

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, sign: int) -> int:
        self.client.close()
        os.kill(self.process.pid, sign)
        code = self.process.wait(timeout=60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def ask(self, sql: str | bytes, user: str = "admin", method: str = "POST", **params: Any) -> httpx.Response:
        """Send one request; `content`, `headers` and `files` go to httpx, the rest into the query string."""
        extra = {name: params.pop(name) for name in ("content", "headers", "files") if name in params}
        if extra or method == "GET":
            params["query"] = sql
        else:
            extra["content"] = sql
        auth = (user, f"{user}-password")
        return self.client.request(method, self.url, params=params, auth=auth, **extra)

    def value(self, sql: str, user: str = "admin", **params: Any) -> str:
        """The text of an answer that must be good."""
        answer = self.ask(sql, user, **params)
        assert answer.status_code == 200, answer.text
        return answer.text.rstrip("\n")


def _entry(role: str) -> dict[str, str]:
    return {"password_sha256": hashlib.sha256(f"{role}-password".encode()).hexdigest(), "role": role}


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """One endpoint for the tests of a module, with the databases of the product."""
    running = Endpoint(tmp_path_factory.mktemp("clickhouse") / "data")
    running.start()
    running.value("CREATE DATABASE procurator")
    running.value("CREATE DATABASE finops")
    yield running
    running.stop()


@pytest.fixture
def make_endpoint(tmp_path: Path) -> Iterator[Callable[[], Endpoint]]:
    """Endpoints that a test starts, kills and starts again; what still runs is killed."""
    made: list[Endpoint] = []

    def make() -> Endpoint:
        made.append(Endpoint(tmp_path / f"data{len(made)}"))
        return made[-1]

    yield make
    for one in made:
        if one.process.poll() is None:
            one.kill()
