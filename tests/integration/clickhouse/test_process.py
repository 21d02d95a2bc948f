"""The process: start, stop, what is in its way."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest


def _refused(data_dir: Path, users: Path, port: int = 0) -> str:
    """The one line with which a start is refused."""
    command = [sys.executable, "-m", "procurator.deploy.embedded.clickhouse", "--data-dir", str(data_dir)]
    command += ["--users", str(users), "--port", str(port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_it_stops_soon_whatever_runs_and_keeps_its_data(make_endpoint: Callable[[], Any]) -> None:
    one = make_endpoint()
    one.start()
    one.value("CREATE TABLE t (a Int8) ENGINE = MergeTree ORDER BY a")
    one.value("INSERT INTO t VALUES (1)")
    one.value("CREATE DATABASE other")  # with a second database the engine resolves the first in another way
    one.value("CREATE TABLE other.t ENGINE = MergeTree ORDER BY a AS SELECT 2 AS a")
    with pytest.raises(httpx.ReadTimeout):  # a query that would run for hours, and its client
        httpx.post(one.url, content="SELECT sleep(3) FROM numbers(99)", auth=("admin", "admin-password"), timeout=0.3)
    began = time.monotonic()
    assert one.stop() == 0
    assert time.monotonic() - began < 15
    for _ in range(2):
        one.start()
        assert one.value("SELECT * FROM t") == "1"
        assert one.value("SELECT * FROM other.t") == "2"
        assert one.value("SELECT engine FROM system.databases WHERE name = 'default'") == "Atomic"
        assert one.stop() == 0


@pytest.mark.parametrize("engine", ["Kafka", "= Kafka", "=`Kafka`", "= /* no */ kafka()"])
def test_a_table_after_which_the_data_could_not_be_opened_is_refused(endpoint: Any, engine: str) -> None:
    answer = endpoint.ask(f"CREATE TABLE queue (a String) ENGINE {engine} SETTINGS kafka_topic_list = 'x'")
    assert answer.headers["x-clickhouse-exception-code"] == "48", answer.text
    assert "The table engine Kafka is not offered" in answer.text
    assert endpoint.value("SELECT count() FROM system.tables WHERE name = 'queue'") == "0"


def test_a_default_database_without_tables_does_not_keep_it_from_starting_again(
    make_endpoint: Callable[[], Any],
) -> None:
    """Its id is another one at each start then; ours has no tables there, and is killed at times."""
    one = make_endpoint()
    for _ in range(3):
        one.start()
        one.value("CREATE DATABASE IF NOT EXISTS other")
        assert one.value("SELECT engine FROM system.databases WHERE name = 'default'") == "Atomic"
        one.kill()


def test_a_directory_in_use_is_told(make_endpoint: Callable[[], Any]) -> None:
    one = make_endpoint()
    one.start()
    assert "the data directory is in use by another process" in _refused(
        one.data_dir, one.data_dir.with_suffix(".json")
    )


def test_a_taken_port_is_told(tmp_path: Path) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = sock.getsockname()[1]
        line = _refused(tmp_path / "data", tmp_path / "users.json", port)
    assert f"cannot listen on 127.0.0.1:{port}: the port is taken" in line


def test_a_bad_users_file_is_told(tmp_path: Path) -> None:
    users = tmp_path / "users.json"
    assert "cannot read the users file" in _refused(tmp_path / "data", users)
    users.write_text("{}")
    assert "not a users file" in _refused(tmp_path / "data", users)


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot use the data directory" in _refused(tmp_path / "file" / "data", tmp_path / "users.json")
