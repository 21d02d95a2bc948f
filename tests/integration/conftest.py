"""The real stack for integration tests.

``stack``: everything; ``broker_stack``: Kafka, registry and ClickHouse only. Both are started once a session, on free
ports and a data directory of their own: a test must use names (topics, subjects, tables) of its own.
A test that needs a stack to itself enters ``Stack(StackConfig(tmp_path, Ports.free()))``.

``PROCURATOR_TEST_STACK=containers`` takes the servers of deploy/compose.yaml, in containers, for these two fixtures.
Our components run beside them as they do beside the embedded ones; a test that stops a server is skipped, and a stack
that a test starts for itself is the embedded one.
"""

import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from procurator.deploy.embedded.components import ALL, INFRASTRUCTURE, REGISTRY_PATH
from procurator.deploy.embedded.credentials import USERS, Credentials, load_or_create, write_private
from procurator.deploy.embedded.layout import HOST, Layout, Ports
from procurator.deploy.embedded.probes import http_ok
from procurator.deploy.embedded.stack import Stack, StackConfig

_DEPLOY = Path(__file__).parents[2] / "deploy"
_KIND = os.environ.get("PROCURATOR_TEST_STACK", "embedded")
_READY_S = 120.0

#: Receivers of webhooks in these tests are on this machine.
os.environ.setdefault("PROCURATOR_WEBHOOK_PRIVATE_NETWORKS", "127.0.0.1/32")
#: Who leaves an SDK here waits for a Kafka that is slow: events on disk would wait for a process that never comes.
os.environ.setdefault("PROCURATOR_ON_FULL", "block")


#: Begun first, the longest before all (20 s and more), or the processes of a run would end minutes apart.
_LONG = (
    "test_stream.py",
    "sink/test_sink_faults.py",
    "ledger/test_attacks.py",
    "test_faults.py",
    "signer/test_signer.py",
    "ledger/test_retention.py",
    "test_up.py",
    "budgets/test_api.py",
    "query_api/test_access_matrix.py",
    "test_sdk_spool.py",
    "test_secure_kafka.py",
    "budgets/test_signals.py",
    "budgets/test_faults.py",
    "test_backup.py",
    "query_api/test_live.py",
    "test_stack.py",
    "sink/test_store.py",
    "query_api/test_described.py",
    "query_api/test_search.py",
    "ledger/test_crashes.py",
    "test_main_job.py",
    "forwarder/test_delivery.py",
    "budgets/test_loop.py",
    "query_api/test_exports.py",
    "sink/test_bad_input.py",
    "test_control.py",
    "test_sdk.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files of `_LONG` before the others; with ``--no-loadscope-reorder`` they are handed out so."""
    rank = {Path(__file__).parent / name: place for place, name in enumerate(_LONG)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


@pytest.fixture(scope="session", autouse=True)
def _kind_of_stack() -> None:
    """Skip, saying why, where the kind of stack that was asked for cannot run."""
    if _KIND not in ("embedded", "containers"):
        pytest.fail(f"PROCURATOR_TEST_STACK is embedded or containers, not {_KIND!r}")
    if _KIND == "containers" and (why := _why_no_containers()):
        pytest.skip(f"PROCURATOR_TEST_STACK=containers: {why}")


@pytest.fixture(scope="session")
def broker_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Kafka, registry and ClickHouse, without a component of ours."""
    with _running(tmp_path_factory.mktemp("broker-stack"), INFRASTRUCTURE) as stack:
        yield stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Everything that ``procurator up`` runs."""
    with _running(tmp_path_factory.mktemp("stack"), ALL) as stack:
        yield stack


@contextmanager
def _running(folder: Path, components: frozenset[str]) -> Iterator[Stack]:
    ports = Ports.free()
    if _KIND == "embedded":
        with Stack(StackConfig(folder, ports, components, say=print)) as stack:
            yield stack
        return
    # On the ports and with the credentials that the stack would have given its own servers: it cannot tell.
    credentials, _ = load_or_create(Layout(folder).credentials, "")
    with (
        _servers(folder, ports, credentials),
        _BesideContainers(StackConfig(folder, ports, components - INFRASTRUCTURE, say=print)) as stack,
    ):
        yield stack


class _BesideContainers(Stack):
    """Our components alone."""

    def starts(self, name: str) -> int:
        _require_process(name)
        return super().starts(name)

    def pid(self, name: str) -> int:
        _require_process(name)
        return super().pid(name)


def _require_process(name: str) -> None:
    if name in INFRASTRUCTURE:
        pytest.skip(f"{name} runs in a container: no process of ours to stop")


@pytest.fixture(scope="session")
def freeze() -> Callable[[int], None]:
    """Stop a process (SIGSTOP), and return once all of its threads stand: on a busy machine some go on for a while."""

    def stop(pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        until_s = time.monotonic() + 30
        while any(state(task) != "T" for task in Path(f"/proc/{pid}/task").iterdir()):
            assert time.monotonic() < until_s, f"process {pid} does not stop"
            time.sleep(0.001)

    def state(task: Path) -> str:
        try:
            return (task / "stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):  # It has just ended.
            return "T"

    return stop


def _why_no_containers() -> str:
    """Return why containers cannot run here; empty when they can."""
    docker = shutil.which("docker")
    if docker is None:
        return "there is no docker command here"
    for arguments, what in ((["info"], "no Docker daemon answers"), (["compose", "version"], "docker has no compose")):
        if subprocess.run([docker, *arguments], capture_output=True, check=False).returncode:
            return what
    return ""


@contextmanager
def _servers(folder: Path, ports: Ports, credentials: Credentials) -> Iterator[None]:
    """Run the three servers of deploy/compose.yaml as a project of their own; remove them and their volumes."""
    from testcontainers.compose import DockerCompose  # takes half a second, and is needed only here

    override, variables = folder / "compose.yaml", folder / "compose.env"
    override.write_text(_overridden(ports), "utf-8")
    write_private(variables, _variables(credentials))
    with DockerCompose(
        _DEPLOY,
        compose_file_name=[str(_DEPLOY / "compose.yaml"), str(override)],
        env_file=str(variables),
        services=sorted(INFRASTRUCTURE),
    ):
        # Compose waits for the health of the others; the registry's image has nothing that could ask it from within.
        ready, until_s = http_ok(HOST, ports.registry, f"{REGISTRY_PATH}/subjects"), time.monotonic() + _READY_S
        while not ready():
            assert time.monotonic() < until_s, f"the registry does not answer after {_READY_S:.0f} s"
            time.sleep(0.5)
        yield


def _overridden(ports: Ports) -> str:
    """Return what differs from deploy/compose.yaml: the project's name and the published ports."""
    return f"""name: procurator-test-{ports.kafka}
services:
  kafka:
    environment:
      KAFKA_ADVERTISED_LISTENERS: INSIDE://kafka:9092,OUTSIDE://{HOST}:{ports.kafka}
    ports: !override ["{HOST}:{ports.kafka}:19092"]
  registry:
    ports: !override ["{HOST}:{ports.registry}:8080"]
  clickhouse:
    ports: !override ["{HOST}:{ports.clickhouse}:8123"]
"""


def _variables(credentials: Credentials) -> str:
    """Return what deploy/compose.yaml asks for; what only services ask for that do not run here is random."""
    known = {f"PROCURATOR_{user.upper()}_PASSWORD": credentials.password(user) for user in ("admin", *USERS)}
    names = [line.split("=")[0] for line in (_DEPLOY / ".env.example").read_text("utf-8").splitlines() if "=" in line]
    return "".join(f"{name}={known.get(name) or secrets.token_hex(16)}\n" for name in names)
