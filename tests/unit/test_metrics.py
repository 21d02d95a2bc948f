"""What a component counts, asked over HTTP as Prometheus does."""

import logging
import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest

from procurator import metrics
from procurator.config import Settings
from procurator.deploy.embedded.layout import free_ports
from procurator.note_keys import Signer
from procurator.signer import service as signer
from procurator.signer.worker import SignerConfig

_PAGE = """
from prometheus_client import generate_latest
from procurator import metrics
from procurator.forwarder import counts
print(generate_latest().decode())
"""


def test_what_was_counted_is_told_on_the_port_of_the_settings() -> None:
    [port] = free_ports(1)
    metrics.count_batch("topic.of.this.test", 7)
    metrics.count_batch("topic.of.this.test", 5)
    metrics.offer(Settings(metrics_port=port))
    page = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).raise_for_status().text
    assert 'procurator_events_total{topic="topic.of.this.test"} 12.0' in page
    assert 'procurator_batches_total{topic="topic.of.this.test"} 2.0' in page


def test_a_port_that_is_taken_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, caplog.at_level(logging.WARNING):
        port = taken.getsockname()[1]
        metrics.offer(Settings(metrics_port=port))
    assert f"no metrics: cannot listen on 127.0.0.1:{port}: Address already in use" in caplog.text


def test_without_a_port_nobody_listens() -> None:
    metrics.offer(Settings())


def test_a_process_tells_no_time_size_or_verdict_that_it_never_set() -> None:
    page = subprocess.run([sys.executable, "-c", _PAGE], capture_output=True, text=True, check=True).stdout
    told = set(re.findall(r"^(procurator_\w+)", page, re.MULTILINE))
    assert "procurator_outages_total" in told
    assert {name for name in told if re.search(r"checkpoint|verification|retention_time", name)} == set()


def test_a_report_is_told_once_it_is_set_be_it_to_zero() -> None:
    registry = CollectorRegistry()
    report = metrics.Report("procurator_of_this_test", "A verdict.", registry=registry)
    assert b"\nprocurator_of_this_test " not in generate_latest(registry)
    report.set(0)
    assert b"\nprocurator_of_this_test 0.0\n" in generate_latest(registry)


def test_a_signer_that_has_not_signed_yet_tells_when_the_one_before_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "CHECKPOINT_TIME", metrics.Report("procurator_told", "", registry=CollectorRegistry()))
    checkpoints = tmp_path / "checkpoints"
    checkpoints.write_text("signed an hour ago")
    os.utime(checkpoints, (1_000.0, 1_000.0))
    stopped: Any = threading.Event()
    stopped.set()
    config = SignerConfig("nobody:1", "http://nobody", tmp_path, tmp_path / "key", checkpoints)
    signer.serve(config, stopped, lambda: None)
    assert [sample.value for family in metrics.CHECKPOINT_TIME.collect() for sample in family.samples] == [1_000.0]


def test_a_watcher_that_reaches_nobody_cannot_tell(tmp_path: Path) -> None:
    port, nobody = free_ports(2)
    command = [sys.executable, "-m", "procurator", "verify", "watch", "--api", "--seen", str(tmp_path / "seen")]
    env = {"PROCURATOR_METRICS_PORT": str(port), "PROCURATOR_API_URL": f"http://127.0.0.1:{nobody}"}
    key = str(Signer.generate("k").verifier)
    watcher = subprocess.Popen([*command, "--key", key], env={**os.environ, **env}, stderr=subprocess.PIPE, text=True)
    with watcher:
        try:
            assert watcher.stderr is not None
            assert "looking again" in watcher.stderr.readline()
            page = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).raise_for_status().text
        finally:
            watcher.terminate()
    assert "\nprocurator_verification_status 2.0\n" in page
    assert "\nprocurator_verification_time_seconds " not in page


def test_what_an_alert_sees_grow_is_told_before_it_has_grown() -> None:
    from procurator.forwarder import counts
    from procurator.sink.dead_letter import REASONS, DeadLetters
    from procurator.sink.worker import Worker

    nobody: Any = None
    DeadLetters("nobody:1", nobody)
    Worker(nobody, nobody, {"a.topic": nobody}, nobody, nobody)
    assert counts.ENDPOINTS
    for reason in (*REASONS, "webhook"):
        assert REGISTRY.get_sample_value("procurator_dead_letters_total", {"reason": reason}) is not None
    assert REGISTRY.get_sample_value("procurator_lost_offsets_total", {"topic": "a.topic"}) == 0.0
