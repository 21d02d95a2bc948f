"""A forwarder that is killed in the midst of deliveries: what the receiver has in the end."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from procurator.config import Settings


@contextmanager
def _process(settings: Settings, ready_file: Path, until: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``procurator forward`` until the end of the block, which may kill it."""
    names = ("kafka_bootstrap_servers", "schema_registry_url", "clickhouse_url", "clickhouse_user")
    environment = {f"PROCURATOR_{name.upper()}": str(getattr(settings, name)) for name in names}
    environment |= {
        "PROCURATOR_CLICKHOUSE_PASSWORD": settings.clickhouse_password.get_secret_value(),
        "PROCURATOR_CLICKHOUSE_DATABASE": settings.clickhouse_database,
        "PROCURATOR_WEBHOOK_KEY": settings.webhook_key.get_secret_value(),
        "PROCURATOR_WEBHOOK_PRIVATE_NETWORKS": settings.webhook_private_networks,
        "PROCURATOR_READY_FILE": str(ready_file),
    }
    ready_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "procurator", "forward"]
    process = subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.PIPE)
    try:
        until(lambda: ready_file.exists() or process.poll() is not None)
        yield process
    finally:
        process.terminate()
        _, said = process.communicate(timeout=30)
    assert b"Traceback" not in said, said.decode()


def test_killed_in_the_midst_of_a_batch_it_repeats_and_leaves_no_gap(
    settings: Settings, hooks: Any, receiver: Any, status: Any, until: Any, org: str, path: str, tmp_path: Path
) -> None:
    endpoint = hooks.make(f"http://127.0.0.1:{receiver.port}{path}", org)
    records = hooks.publish(org, 40)
    started: Future[subprocess.Popen[bytes]] = Future()

    def kill(_handler: Any) -> None:
        """The batch has come whole, and is never answered."""
        os.kill(started.result(30).pid, signal.SIGKILL)

    receiver.acts[path] = [status(200), kill]
    with _process(settings, tmp_path / "ready", until) as process:
        started.set_result(process)
        until(lambda: process.poll() is not None)
    assert process.returncode == -signal.SIGKILL
    before = len(receiver.received[path])
    with _process(settings, tmp_path / "ready", until) as process:
        wanted = {record["event_id"] for record in records}
        until(lambda: wanted <= {item["event"]["event_id"] for item in receiver.items(path)})
        until(lambda: hooks.state(endpoint).delivered == len(records))
    assert process.returncode == 0
    repeat, again = receiver.received[path][before - 1 : before + 1]
    assert (repeat.headers["webhook-id"], repeat.body) == (again.headers["webhook-id"], again.body)
    numbered = {item["sequence"]: item["event"]["event_id"] for item in receiver.items(path)}
    assert sorted(numbered) == list(range(len(records))), "no gap"
    assert all(numbered[item["sequence"]] == item["event"]["event_id"] for item in receiver.items(path))


def test_a_second_forwarder_takes_over_and_the_first_stops(
    settings: Settings, hooks: Any, receiver: Any, until: Any, org: str, path: str, tmp_path: Path
) -> None:
    hooks.make(f"http://127.0.0.1:{receiver.port}{path}", org)
    with _process(settings, tmp_path / "first", until) as first, _process(settings, tmp_path / "second", until):
        hooks.publish(org, 2)
        until(lambda: receiver.received.get(path))
        assert until(lambda: first.poll()) == 2
