"""`procurator doctor` on a whole installation, on an empty one, and where somebody does not answer."""

import json
import os
import subprocess
import sys
from contextlib import closing
from typing import Any

import pytest

from procurator.clickhouse import ClickHouse
from procurator.deploy.embedded.layout import Ports
from procurator.deploy.embedded.stack import Stack
from procurator.doctor import missing_rights


def _doctor(stack: Stack, **changed: str) -> tuple[int, list[dict[str, Any]]]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PROCURATOR_")}
    done = subprocess.run(
        [sys.executable, "-m", "procurator", "doctor", "--json"],
        capture_output=True,
        text=True,
        env={**inherited, **stack.env(), **changed},
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_a_whole_installation_is_well(stack: Stack) -> None:
    code, findings = _doctor(stack)
    bad = [finding for finding in findings if finding["verdict"] != "ok" and finding["check"] != "disk"]
    assert (code, bad) == (0, [])
    checked = {finding["check"] for finding in findings}
    assert checked >= {
        "grants",
        "versions",
        "topics",
        "schemas",
        "clickhouse",
        "clock",
        "tables",
        "lag",
        "checkpoint",
        "api",
    }


@pytest.mark.parametrize("component", ["sink", "api", "retention"])
def test_each_user_of_clickhouse_may_do_what_its_component_does(stack: Stack, component: str) -> None:
    _, findings = _doctor(stack, **{k: v for k, v in stack.env(component).items() if "CLICKHOUSE" in k})
    (finding,) = [finding for finding in findings if finding["check"] == "grants"]
    assert finding["verdict"] == "ok"


def test_a_right_that_is_lacking_is_found_without_being_tried(stack: Stack) -> None:
    reader = ClickHouse(stack.clickhouse_url, "reader", stack.password("reader"), "procurator")
    with closing(reader):
        (lacking,) = missing_rights(reader, ("SELECT", "INSERT"))
    assert lacking.startswith("INSERT on events, audit, ledger_control,")


@pytest.mark.parametrize(
    ("variable", "check"),
    [
        ("PROCURATOR_SCHEMA_REGISTRY_URL", "schemas"),
        ("PROCURATOR_CLICKHOUSE_URL", "clickhouse"),
        ("PROCURATOR_API_URL", "api"),
    ],
)
def test_who_does_not_answer_is_unknown_and_the_rest_goes_on(stack: Stack, variable: str, check: str) -> None:
    code, findings = _doctor(stack, **{variable: f"http://127.0.0.1:{Ports.free().api}"})
    (finding,) = [finding for finding in findings if finding["check"] == check]
    assert (code, finding["verdict"]) == (2, "unknown")
    assert finding["remedy"]
    assert {"ok"} == {finding["verdict"] for finding in findings if finding["check"] in ("versions", "topics")}


def test_a_wrong_password_is_named(stack: Stack) -> None:
    code, findings = _doctor(stack, PROCURATOR_CLICKHOUSE_PASSWORD="wrong")
    failed = [finding for finding in findings if finding["verdict"] == "failed"]
    assert code == 1
    assert all("PROCURATOR_CLICKHOUSE_PASSWORD" in finding["what"] for finding in failed)
    assert {finding["check"] for finding in failed} == {"clickhouse", "lag"}


def test_an_installation_without_setup_is_told_to_run_it(stack: Stack) -> None:
    code, findings = _doctor(stack, PROCURATOR_CLICKHOUSE_DATABASE="not_set_up")
    (failed,) = [finding for finding in findings if finding["check"] == "clickhouse" and finding["verdict"] != "ok"]
    assert (code, failed["verdict"]) == (1, "failed")
    assert "procurator setup" in failed["what"] + failed["remedy"]
