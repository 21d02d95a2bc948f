"""The real stack for integration tests.

``stack``: everything; ``broker_stack``: Kafka, registry and ClickHouse only. Both are started once a session, on free
ports and a data directory of their own: a test must use names (topics, subjects, tables) of its own.
A test that needs a stack to itself enters ``Stack(StackConfig(tmp_path, Ports.free()))``.

``PROCURATOR_TEST_STACK=containers`` asks for servers in containers instead of the embedded stack.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from procurator.deploy.embedded.components import ALL, INFRASTRUCTURE
from procurator.deploy.embedded.layout import Ports
from procurator.deploy.embedded.stack import Stack, StackConfig

#: Receivers of webhooks in these tests are on this machine.
os.environ.setdefault("PROCURATOR_WEBHOOK_PRIVATE_NETWORKS", "127.0.0.1/32")


@pytest.fixture(scope="session", autouse=True)
def _kind_of_stack() -> None:
    """Skip, saying why, where the kind of stack that was asked for cannot run."""
    kind = os.environ.get("PROCURATOR_TEST_STACK", "embedded")
    if kind == "embedded":
        return
    if kind != "containers":
        pytest.fail(f"PROCURATOR_TEST_STACK is embedded or containers, not {kind!r}")
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "info"], capture_output=True, check=False).returncode:
        pytest.skip("PROCURATOR_TEST_STACK=containers: there is no Docker daemon here")
    pytest.skip("PROCURATOR_TEST_STACK=containers: deploy/compose.yaml is not wired to these tests yet")


@pytest.fixture(scope="session")
def broker_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Kafka, registry and ClickHouse, without a component of ours."""
    folder = tmp_path_factory.mktemp("broker-stack")
    with Stack(StackConfig(folder, Ports.free(), INFRASTRUCTURE, say=print)) as stack:
        yield stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Everything that ``procurator up`` runs."""
    with Stack(StackConfig(tmp_path_factory.mktemp("stack"), Ports.free(), ALL, say=print)) as stack:
        yield stack
