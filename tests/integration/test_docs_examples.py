"""The examples of docs/sdk.md and docs/importing.md run as they stand, on real Kafka."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from procurator.avro_schemas.codec import load_schema
from procurator.deploy.embedded.stack import Stack
from procurator.kafka import Topics
from procurator.registry import Registry
from procurator.topics import CONTROL, SESSION_EVENTS

ROOT = Path(__file__).parents[2]


def blocks(page: str, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", (ROOT / "docs" / page).read_text("utf-8"), re.MULTILINE | re.DOTALL
    )


@pytest.fixture(scope="module")
def environment(broker_stack: Stack) -> dict[str, str]:
    registry = Registry(broker_stack.registry_url)
    registry.register(load_schema("session_event"))
    registry.close()
    Topics(broker_stack.kafka).ensure([SESSION_EVENTS, CONTROL], 4, 1)
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PROCURATOR_KAFKA_BOOTSTRAP_SERVERS": broker_stack.kafka,
        "PROCURATOR_SCHEMA_REGISTRY_URL": broker_stack.registry_url,
    }


def test_the_sdk_page_runs(environment: dict[str, str]) -> None:
    script = "\n".join(blocks("sdk.md", "python"))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_importing_page_runs(environment: dict[str, str]) -> None:
    commands = [line for block in blocks("importing.md", "sh") for line in block.splitlines()]
    assert len(commands) == 3
    for command in commands:
        done = subprocess.run(command.split(), capture_output=True, text=True, env=environment, cwd=ROOT, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert "sample-chat.json" in done.stdout
