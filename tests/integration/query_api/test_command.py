"""`procurator api` as a process: what it says when it cannot run, how it stops, what it logs."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

_COMMAND = [sys.executable, "-m", "procurator", "api"]


def _environment(**variables: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PROCURATOR_")}
    # Nothing listens on port 9: the API must start without its neighbours.
    return {**inherited, "PROCURATOR_CLICKHOUSE_URL": "http://127.0.0.1:9", **variables}


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_without_a_key_it_says_what_to_set() -> None:
    result = subprocess.run(_COMMAND, env=_environment(), capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 2
    assert "set PROCURATOR_ADMIN_KEY" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_taken_port_is_one_line(taken_port: int) -> None:
    environment = _environment(PROCURATOR_ADMIN_KEY="k", PROCURATOR_API_PORT=str(taken_port))
    result = subprocess.run(_COMMAND, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 2
    assert f"cannot listen on 127.0.0.1:{taken_port}: Address already in use" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_serves_logs_and_stops(tmp_path: Path, number: signal.Signals, code: int) -> None:
    ready, log = tmp_path / "ready", tmp_path / "log"
    environment = _environment(PROCURATOR_ADMIN_KEY="k", PROCURATOR_API_PORT="0", PROCURATOR_READY_FILE=str(ready))
    with log.open("wb") as stderr, subprocess.Popen(_COMMAND, env=environment, stderr=stderr) as process:
        deadline = time.monotonic() + 60
        while not ready.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        url = log.read_text("utf-8").split()[1]
        headers = {"Authorization": "Bearer k", "X-Request-Id": "r1"}
        response = httpx.get(f"{url}/v1/sessions", headers=headers, timeout=60)
        assert response.status_code == 503
        process.send_signal(number)
        assert process.wait(30) == code
    lines = [json.loads(line) for line in log.read_text("utf-8").splitlines() if '"request_id"' in line]
    [line] = lines
    assert (line["request_id"], line["method"], line["path"], line["status"]) == ("r1", "GET", "/v1/sessions", 503)
    assert line["principal"] == "key:admin"
    assert line["duration_ms"] > 0
