"""The main job as a newcomer runs it: the demo, and recordings of agents, imported and read back word by word."""

import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import httpx
import pytest

from procurator.deploy.embedded.layout import Ports
from procurator.deploy.embedded.stack import Stack

SAMPLE = Path(__file__).parents[2] / "producers" / "samples" / "sample-chat.json"
TRACES = Path(__file__).parents[3] / "shared" / "traces"
_HANGS_S = 240.0

Messages = list[tuple[str, str]]


def test_the_demo_runs_once_and_finds_all_it_published(tmp_path: Path) -> None:
    ports = {f"PROCURATOR_{name.upper()}_PORT": str(port) for name, port in asdict(Ports.free()).items()}
    command = [sys.executable, "-m", "procurator", "demo", "--once", "--sessions", "12", "--seed", "7"]
    done = subprocess.run(
        [*command, "--data-dir", str(tmp_path / "data")],
        env={**os.environ, **ports},
        capture_output=True,
        text=True,
        check=False,
        timeout=_HANGS_S,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ready ")
    assert "checked: 12 sessions against their recount, 0 differences" in done.stderr
    assert "0 at fault" in done.stderr
    (all_of_them,) = [line.split() for line in done.stdout.splitlines() if " all " in line]
    assert "12" in all_of_them


def _chat() -> Messages:
    return [(message["role"], message["content"] or "") for message in json.loads(SAMPLE.read_text())["messages"]]


def _tau_bench() -> Messages:
    first = json.loads(gzip.decompress((TRACES / "tau-bench-airline-gpt-4o.json.gz").read_bytes()))[0]
    return [(message["role"], message["content"] or "") for message in first["traj"]]


@pytest.fixture
def api(stack: Stack) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {stack.admin_key}"}
    with httpx.Client(base_url=stack.api_url, headers=headers, timeout=60, trust_env=False) as client:
        yield client


@pytest.mark.parametrize(
    ("file", "messages"),
    [
        (SAMPLE, _chat),
        pytest.param(
            TRACES / "tau-bench-airline-gpt-4o.json.gz",
            _tau_bench,
            marks=pytest.mark.skipif(not TRACES.is_dir(), reason="the recordings are not beside this checkout"),
        ),
    ],
    ids=["chat", "tau-bench"],
)
def test_what_is_imported_is_what_the_api_shows(
    stack: Stack, api: httpx.Client, file: Path, messages: Callable[[], Messages]
) -> None:
    servers = {
        "PROCURATOR_KAFKA_BOOTSTRAP_SERVERS": stack.kafka,
        "PROCURATOR_SCHEMA_REGISTRY_URL": stack.registry_url,
    }
    command = [sys.executable, "-m", "procurator", "import", str(file), "--json", "--org", "main-job"]
    done = subprocess.run(
        command, env={**os.environ, **servers}, capture_output=True, text=True, check=True, timeout=_HANGS_S
    )
    first = json.loads(done.stdout.splitlines()[0])
    session = f"/v1/sessions/{first['session_id']}"

    def whole() -> bool:
        """Sink and stream are two readers of the topic: neither waits for the other."""
        state, entries = api.get(session), api.get(f"{session}/events?limit=1000")
        if not state.status_code == entries.status_code == httpx.codes.OK:
            return False
        return bool(state.json()["events"] == len(entries.json()["items"]) == first["events"])

    until_s = time.monotonic() + _HANGS_S
    while not whole():
        assert time.monotonic() < until_s, f"{session} did not arrive whole"
        time.sleep(0.2)
    turns = api.get(f"{session}/turns?limit=1000").raise_for_status().json()["items"]
    assert [(turn["role"].lower(), turn["content"]) for turn in turns] == messages()
