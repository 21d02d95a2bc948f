"""The alerts: Prometheus can read them, each asks for a metric that we have, and each has a runbook."""

import re
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
_GROUPS = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text("utf-8"))["groups"]
RULES: list[dict[str, Any]] = [rule for group in _GROUPS for rule in group["rules"]]


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


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_an_alert_asks_for_metrics_that_exist(rule: dict[str, Any]) -> None:
    assert metrics.EVENTS and counts.ENDPOINTS  # noqa: PT018 - their import registers the components' figures
    offered = _families(REGISTRY) | _families(ApiMetrics()._registry) | {"up"}
    asked = {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in _names(rule["expr"])}
    assert asked
    assert asked <= offered


def test_every_metric_is_documented() -> None:
    assert counts.ENDPOINTS
    offered = _families(REGISTRY) | _families(ApiMetrics()._registry)
    ours = {name.removeprefix("procurator_") for name in offered if name.startswith("procurator_")}
    page = (ROOT / "docs/production.md").read_text("utf-8")
    assert {name for name in ours if not re.search(rf"`{name}(_total)?`", page)} == set()


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    runbooks = re.findall(r"^## (\w+)$", (ROOT / "docs/runbooks.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(runbooks) == sorted(rule["alert"] for rule in RULES)
