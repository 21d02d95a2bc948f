"""``procurator up`` as its user sees it: the ready line, refusals, clean stops, no orphans, data that survives."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from procurator.deploy.embedded.components import ALL
from procurator.deploy.embedded.layout import HOST, Ports

STOP_S_MAX = 15.0
HANGS_S = 120.0  # being ready in 30 s is a figure, which a busy machine does not reach
SERVERS = "kafka,registry,clickhouse"


@dataclass
class Up:
    """One ``procurator up`` as a child process, its answers parsed."""

    data_dir: Path
    ports: Ports
    only: str = SERVERS
    process: subprocess.Popen[str] | None = None
    addresses: dict[str, str] = field(default_factory=dict)

    def command(self, *options: str) -> list[str]:
        return [sys.executable, "-m", "procurator", "up", "--data-dir", str(self.data_dir), *options]

    def env(self) -> dict[str, str]:
        ports = {f"PROCURATOR_{name.upper()}_PORT": str(port) for name, port in asdict(self.ports).items()}
        return {**os.environ, **ports}

    def launch(self) -> "Up":
        with self.error_file.open("a") as errors:
            self.process = subprocess.Popen(
                self.command("--only", self.only),
                env=self.env(),
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        return self

    def start(self) -> "Up":
        """Launch it and wait for its ready line."""
        self.launch()
        assert self.process is not None
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert re.fullmatch(r"ready( [a-z]+=\S+)+\n", line), (line, self.errors())
        self.addresses = dict(pair.split("=", 1) for pair in line.split()[1:])
        return self

    @property
    def error_file(self) -> Path:
        return self.data_dir.with_name(f"{self.data_dir.name}.err")

    def errors(self) -> str:
        return self.error_file.read_text()

    def refused(self) -> str:
        """Run it expecting a refusal; return the one line it says."""
        done = subprocess.run(
            self.command("--only", self.only), env=self.env(), capture_output=True, text=True, check=False, timeout=60
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr.strip()

    def tree(self) -> list[psutil.Process]:
        assert self.process is not None
        return list(psutil.Process(self.process.pid).children(recursive=True))

    def end(self, number: int) -> tuple[int, float]:
        """Send a signal; return the exit code, and the seconds until it and all of its children were gone."""
        assert self.process is not None
        children, began_s = self.tree(), time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(STOP_S_MAX * 2)
        gone, alive = psutil.wait_procs(children, timeout=STOP_S_MAX)
        assert alive == [], alive
        assert len(gone) == len(children) >= 4  # a guard and the three servers
        return code, time.monotonic() - began_s


@pytest.fixture
def make_up(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    made: list[Up] = []

    def make(name: str = "data", ports: Ports | None = None, only: str = SERVERS) -> Up:
        made.append(Up(tmp_path / name, ports or Ports.free(), only))
        return made[-1]

    yield make
    for up in made:
        if up.process is not None:
            up.process.kill()
            up.process.wait()
            assert up.process.stdout is not None
            up.process.stdout.close()


def clickhouse(up: Up, statement: str) -> str:
    password = json.loads((up.data_dir / "credentials.json").read_text())["admin_key"]
    answer = httpx.post(up.addresses["clickhouse"], content=statement, auth=("admin", password), timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.text.strip()


def topics(up: Up) -> set[str]:
    return set(AdminClient({"bootstrap.servers": up.addresses["kafka"]}).list_topics(timeout=30).topics)


def create_data(up: Up) -> int:
    """Leave a topic, a schema and a table; return the schema's id."""
    admin = AdminClient({"bootstrap.servers": up.addresses["kafka"]})
    admin.create_topics([NewTopic("kept", 3)])["kept"].result(30)
    schema = httpx.post(
        f"{up.addresses['registry']}/subjects/kept/versions", json={"schema": '{"type": "string"}'}, timeout=30
    )
    clickhouse(up, "CREATE TABLE kept (n UInt64) ENGINE = MergeTree ORDER BY n")
    clickhouse(up, "INSERT INTO kept SELECT number FROM numbers(1000)")
    return int(schema.raise_for_status().json()["id"])


def test_it_is_ready_stops_cleanly_and_keeps_its_data(make_up: Callable[..., Up]) -> None:
    up = make_up(only="").start()
    assert list(up.addresses) == ["ui", "api", "kafka", "registry", "clickhouse"]
    assert httpx.get(f"{up.addresses['api']}/readyz", timeout=30).status_code == 200
    key = json.loads((up.data_dir / "credentials.json").read_text())["admin_key"]
    assert up.errors().count(key) == 1
    for secret in ("credentials.json", "clickhouse/users.json"):
        assert stat.S_IMODE((up.data_dir / secret).stat().st_mode) == 0o600
    schema_id = create_data(up)
    code, took_s = up.end(signal.SIGTERM)
    assert code == 0
    assert took_s < STOP_S_MAX
    for name in ALL:
        assert (up.data_dir / "logs" / f"{name}.log").stat().st_size > 0

    again = make_up().start()
    assert again.errors().count(key) == 1  # shown once, at the first start
    assert "kept" in topics(again)
    stored = httpx.get(f"{again.addresses['registry']}/schemas/ids/{schema_id}", timeout=30).json()
    assert json.loads(stored["schema"]) == "string"  # Avro's short form of what was registered
    assert clickhouse(again, "SELECT count(), sum(n) FROM kept") == "1000\t499500"
    code, took_s = again.end(signal.SIGINT)
    assert code == 130
    assert took_s < STOP_S_MAX


def test_a_killed_parent_leaves_no_orphans_and_loses_nothing(make_up: Callable[..., Up]) -> None:
    up = make_up().start()
    schema_id = create_data(up)
    code, took_s = up.end(signal.SIGKILL)  # asserts that every child is gone
    assert code == -signal.SIGKILL
    assert took_s < STOP_S_MAX
    again = make_up().start()
    assert "kept" in topics(again)
    assert httpx.get(f"{again.addresses['registry']}/schemas/ids/{schema_id}", timeout=30).status_code == 200
    assert clickhouse(again, "SELECT count() FROM kept") == "1000"


def test_a_second_one_on_the_data_directory_is_refused(make_up: Callable[..., Up], tmp_path: Path) -> None:
    up = make_up().start()
    assert up.process is not None
    refusal = make_up().refused()
    assert refusal == (
        f"procurator: {tmp_path / 'data'} is in use by process {up.process.pid}; "
        "stop it, or name another folder with --data-dir"
    )
    refusal = make_up("other", ports=up.ports).refused()
    assert f"port {up.ports.kafka} (kafka), port {up.ports.registry} (registry)" in refusal


def test_a_stop_before_it_is_ready_is_as_clean(make_up: Callable[..., Up]) -> None:
    up = make_up().launch()
    deadline_s = time.monotonic() + HANGS_S
    while len(up.tree()) < 4:  # the guard, Kafka's formatter, the registry, ClickHouse
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    code, took_s = up.end(signal.SIGTERM)
    assert code == 0
    assert took_s < STOP_S_MAX
    assert up.process is not None
    assert up.process.stdout is not None
    assert up.process.stdout.read() == ""


def test_a_frozen_child_does_not_hold_up_the_stop(make_up: Callable[..., Up]) -> None:
    up = make_up().start()
    (kafka,) = [child for child in up.tree() if "kafka.Kafka" in child.cmdline()]
    kafka.suspend()
    code, took_s = up.end(signal.SIGTERM)
    assert code == 0
    assert took_s < STOP_S_MAX


def test_a_taken_port_is_named(make_up: Callable[..., Up]) -> None:
    up = make_up()
    with socket.socket() as server:
        server.bind((HOST, up.ports.registry))
        server.listen()
        assert up.refused() == (
            f"procurator: port {up.ports.registry} (registry) is in use; "
            "use --port-offset N, or set PROCURATOR_REGISTRY_PORT"
        )


def test_a_data_directory_that_cannot_be_made_is_one_line(make_up: Callable[..., Up], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert make_up("file/data").refused() == (
        f"procurator: cannot write {tmp_path / 'file/data'}: Not a directory; name another folder with --data-dir"
    )
