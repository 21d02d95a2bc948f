"""The alerts: Prometheus can read them, each fires when it must, asks for a metric that we have, has a runbook."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import REGISTRY, CollectorRegistry

from procurator import metrics
from procurator.forwarder import counts
from procurator.query_api.metrics import ApiMetrics

ROOT = Path(__file__).parents[3]
_FOLDER = ROOT / "deploy/prometheus"
_PROMTOOL = shutil.which("promtool")
_GROUPS = yaml.safe_load((_FOLDER / "alerts.yml").read_text("utf-8"))["groups"]
RULES: list[dict[str, Any]] = [rule for group in _GROUPS for rule in group["rules"]]
_CASES = yaml.safe_load((_FOLDER / "alerts.test.yml").read_text("utf-8"))["tests"]
_CHECKS: list[dict[str, Any]] = [check for case in _CASES for check in case["alert_rule_test"]]


def _families(registry: CollectorRegistry) -> set[str]:
    """Return the base name of everything that a registry can offer, labelled figures without a value included."""
    return {family.name for family in registry.collect()}


def _names(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:procurator_\w+|up)\b", re.sub(r'"[^"]*"', "", expression)))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_an_alert_is_one_that_prometheus_can_read(rule: dict[str, Any]) -> None:
    promql_parser.parse(rule["expr"])
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"]
    assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))


@pytest.mark.skipif(_PROMTOOL is None, reason="no promtool here (Debian: apt install prometheus)")
@pytest.mark.parametrize(
    "arguments", [["test", "rules", "alerts.test.yml"], ["check", "config", "prometheus.yml"]], ids=" ".join
)
def test_prometheus_itself_finds_that_the_alerts_do_what_they_must(arguments: list[str]) -> None:
    """Evaluated by Prometheus's own engine on series with the names and labels that our components have."""
    assert _PROMTOOL
    ran = subprocess.run([_PROMTOOL, *arguments], cwd=_FOLDER, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_an_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(rule: dict[str, Any]) -> None:
    assert {bool(check["exp_alerts"]) for check in _CHECKS if check["alertname"] == rule["alert"]} == {True, False}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_an_alert_asks_for_metrics_that_exist(rule: dict[str, Any]) -> None:
    assert metrics.EVENTS and counts.ENDPOINTS  # noqa: PT018 - their import registers the components' figures
    offered = _families(REGISTRY) | _families(ApiMetrics()._registry) | {"up"}
    asked = {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in _names(rule["expr"])}
    assert asked
    assert asked <= offered


def test_the_cases_have_series_as_our_components_tell_them() -> None:
    """By name and labels, so that an alert is not tested on what it never meets."""
    collectors = {**REGISTRY._names_to_collectors, **ApiMetrics()._registry._names_to_collectors}
    for name, labels in (_series(each["series"]) for case in _CASES for each in case["input_series"]):
        own = {"job"} if name == "up" else {*collectors[name]._labelnames} | ({"le"} & labels)
        assert labels <= own | {"component"}, f"{name} has no such labels: {labels - own}"


def _series(text: str) -> tuple[str, set[str]]:
    """Return the name of a series, and the names of its labels."""
    return re.split("{", text)[0], set(re.findall(r"(\w+)=", text))


def test_every_metric_is_documented() -> None:
    assert counts.ENDPOINTS
    offered = _families(REGISTRY) | _families(ApiMetrics()._registry)
    ours = {name.removeprefix("procurator_") for name in offered if name.startswith("procurator_")}
    page = (ROOT / "docs/production.md").read_text("utf-8")
    assert {name for name in ours if not re.search(rf"`{name}(_total)?`", page)} == set()


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    runbooks = re.findall(r"^## (\w+)$", (ROOT / "docs/runbooks.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(runbooks) == sorted(rule["alert"] for rule in RULES)
