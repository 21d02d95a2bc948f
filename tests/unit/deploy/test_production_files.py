"""What stands in deploy/ for a production: read as Compose, Grafana, Prometheus and Docker would read it.

No Docker daemon is needed: each file is parsed, and what it names must exist in this checkout.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from procurator.cli import build_app
from procurator.config import Settings
from procurator.deploy.embedded.credentials import USERS

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
OURS = {name: service for name, service in COMPOSE["services"].items() if service.get("image") == "procurator-sessions"}
DASHBOARDS = sorted((DEPLOY / "grafana/dashboards").glob("*.json"))
_PANEL_TYPES = frozenset({"stat", "timeseries", "table", "bargauge", "gauge"})


def test_every_component_runs_in_compose() -> None:
    assert {service["command"][0] for service in OURS.values()} >= {"setup", "sink", "stream", "api", "sign", "forward"}


@pytest.mark.parametrize("name", OURS)
def test_a_component_is_a_command_with_settings_that_exist(name: str) -> None:
    service = OURS[name]
    command, *arguments = service["command"]
    get_command(build_app()).commands[command].make_context(command, arguments)  # type: ignore[attr-defined]
    unknown = {key.removeprefix("PROCURATOR_").lower() for key in service["environment"]} - Settings.model_fields.keys()
    assert unknown == set()


def test_the_key_is_made_where_it_is_used_alone() -> None:
    assert "--no-key" in OURS["setup"]["command"]
    assert [name for name, service in OURS.items() if "sign:/data" in service.get("volumes", ())] == ["sign"]


def test_whatever_a_client_on_the_host_needs_is_where_it_looks() -> None:
    chosen = Settings()
    asked = {"clickhouse": chosen.clickhouse_url, "registry": chosen.schema_registry_url, "api": chosen.api_url}
    published = {name: COMPOSE["services"][name]["ports"][0].rpartition(":")[0] for name in asked}
    assert {name: url.split("/")[2] for name, url in asked.items()} == published
    assert COMPOSE["services"]["kafka"]["ports"] == ["127.0.0.1:19092:19092"]
    assert "OUTSIDE://127.0.0.1:19092" in COMPOSE["services"]["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]


@pytest.mark.parametrize("name", OURS)
def test_a_component_can_do_as_little_as_possible(name: str) -> None:
    service = OURS[name]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert "no-new-privileges:true" in service["security_opt"]
    assert "privileged" not in service


def test_no_port_is_published_beyond_loopback_and_no_image_floats() -> None:
    for name, service in COMPOSE["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
        image = service["image"]
        assert image == "procurator-sessions" or re.fullmatch(r"[\w./-]+:v?\d[\w.-]+", image), image


def test_what_compose_mounts_and_waits_for_exists() -> None:
    for name, service in COMPOSE["services"].items():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            exists = (DEPLOY / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]
            assert exists, f"{name}: {source}"
        assert set(service.get("depends_on", ())) <= COMPOSE["services"].keys(), name


def test_every_variable_that_compose_needs_is_in_the_example_without_a_value() -> None:
    needed = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text("utf-8")))
    lines = [line for line in (DEPLOY / ".env.example").read_text("utf-8").splitlines() if not line.startswith("#")]
    assert {line.removesuffix("=") for line in lines} == needed


def test_no_secret_has_a_default() -> None:
    assert re.findall(r"\$\{\w+:-", (DEPLOY / "compose.yaml").read_text("utf-8")) == []


def test_the_users_of_the_server_are_the_roles_of_the_design() -> None:
    script = (DEPLOY / "clickhouse/users.sh").read_text("utf-8")
    (roles,) = re.findall(r"^for role in (.*); do$", script, re.MULTILINE)
    assert tuple(roles.split()) == USERS


def test_the_image_is_pinned_by_hashes_runs_as_nobody_special_and_copies_what_exists() -> None:
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    assert "--require-hashes -r deploy/requirements.lock" in text
    assert re.search(r"^USER (?!root)", text, re.MULTILINE)
    copied = [
        line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if "!" in line
    ]
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_the_image_installs_the_versions_that_were_tested() -> None:
    pin = re.compile(r"^([\w.-]+(?:\[[\w,]+\])?==[^\s;]+)", re.MULTILINE)
    tested = set(pin.findall((ROOT / "requirements.lock").read_text("utf-8")))
    installed = set(pin.findall((DEPLOY / "requirements.lock").read_text("utf-8")))
    assert len(installed) > 30
    assert installed <= tested


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_one_that_grafana_can_lay_out(path: Path) -> None:
    board = json.loads(path.read_text("utf-8"))
    assert board["uid"] == f"procurator-{path.stem}"
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 0
    sources = _data_sources()
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        assert panel["type"] in _PANEL_TYPES
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, f"{panel['title']} stands on another"
        taken |= cells
        for target in panel["targets"]:
            assert target["datasource"]["uid"] in sources
            # 0 is a time series, which Grafana parts by the columns that are text; 1 is a table.
            assert target["format"] == (0 if panel["type"] == "timeseries" else 1), panel["title"]
    variables = {variable["name"] for variable in board["templating"]["list"]}
    used = set(re.findall(r"\$\{(\w+)[:}]", json.dumps(panels)))
    assert used <= variables


def _data_sources() -> set[str]:
    provisioned = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/clickhouse.yaml").read_text("utf-8"))
    return {source["uid"] for source in provisioned["datasources"]}


def test_prometheus_asks_every_component_that_runs_on() -> None:
    (job,) = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text("utf-8"))["scrape_configs"]
    asked = {target.split(":")[0] for target in job["static_configs"][0]["targets"]}
    assert asked == OURS.keys() - {"setup"}
