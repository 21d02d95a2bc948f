"""Prometheus itself, with the rules that are shipped, on a sink that works and beside a component that does not."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from procurator.deploy.embedded.layout import free_ports

_PROMETHEUS = shutil.which("prometheus")
_SHIPPED = Path(__file__).parents[3] / "deploy/prometheus"

pytestmark = pytest.mark.skipif(_PROMETHEUS is None, reason="no prometheus here (Debian: apt install prometheus)")


@pytest.fixture
def sink_port(world: Any, await_true: Any) -> int:
    """Where a sink that has taken 30 events tells its figures."""
    (port,) = free_ports(1)
    world.load(30)
    world.start_sink(PROCURATOR_METRICS_PORT=str(port)).await_ready()
    world.await_entries(30)
    return port


@pytest.fixture
def prometheus(sink_port: int, await_true: Any, tmp_path: Path) -> Iterator[httpx.Client]:
    """Prometheus on the shipped configuration, but for addresses and intervals: a sink, and a stream that is away."""
    own, nobody = free_ports(2)
    config = yaml.safe_load((_SHIPPED / "prometheus.yml").read_text("utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(_SHIPPED / name) for name in config["rule_files"]]
    (job,) = config["scrape_configs"]
    job["static_configs"] = [{"targets": [f"127.0.0.1:{sink_port}", f"localhost:{nobody}"]}]
    job["relabel_configs"] += [
        {"source_labels": ["__address__"], "regex": f"{host}:.*", "target_label": "component", "replacement": component}
        for host, component in (("127.0.0.1", "sink"), ("localhost", "stream"))
    ]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config), "utf-8")
    arguments = [f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
    with (
        (tmp_path / "log").open("wb") as log,
        httpx.Client(base_url=f"http://127.0.0.1:{own}/api/v1/", trust_env=False) as client,
        subprocess.Popen(
            [str(_PROMETHEUS), *arguments, f"--web.listen-address=127.0.0.1:{own}"], stdout=log, stderr=log
        ) as process,
    ):
        try:
            await_true(lambda: process.poll() is not None or _answers(client))
            assert process.poll() is None, (tmp_path / "log").read_text("utf-8")
            yield client
        finally:
            process.terminate()


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("status/runtimeinfo").is_success
    except httpx.TransportError:  # not yet
        return False


def _data(client: httpx.Client, path: str, **params: str) -> Any:
    return client.get(path, params=params).raise_for_status().json()["data"]


def test_prometheus_reads_a_sink_and_evaluates_every_alert(prometheus: httpx.Client, await_true: Any) -> None:
    def value(expression: str) -> dict[str, float]:
        found = _data(prometheus, "query", query=expression)["result"]
        return {each["metric"].get("component", ""): float(each["value"][1]) for each in found}

    def health() -> set[str]:
        return {rule["health"] for group in _data(prometheus, "rules")["groups"] for rule in group["rules"]}

    await_true(lambda: value("up") == {"sink": 1, "stream": 0})
    assert value("sum by (component) (procurator_events_total)") == {"sink": 30}
    await_true(lambda: "unknown" not in health())
    assert health() == {"ok"}
    await_true(lambda: _data(prometheus, "alerts")["alerts"])
    (alert,) = _data(prometheus, "alerts")["alerts"]
    assert (alert["labels"]["alertname"], alert["labels"]["component"]) == ("ComponentDown", "stream")
    assert alert["state"] == "pending", "it fires after a minute"
