"""A past price is put right on the real stack: session and budget change by the difference, nothing else does."""

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from uuid import uuid4

import httpx
import pytest

from procurator.deploy.embedded.stack import Stack
from procurator.producers import Procurator

PRICES = """
version = "{version}"
[[price]]
provider = "openai"
model = "gpt-4o"
org_id = "{org_id}"
active_from = {active_from}
usd_per_million = {{ input = 1, output = {output} }}
[[price]]
provider = "home"
model = "made"
org_id = "{org_id}"
active_from = {active_from}
usd_per_million = {{ input = 1, output = 1 }}
"""


def eventually(what: Callable[[], bool], seconds: float = 60.0) -> None:
    until_s = monotonic() + seconds
    while not what():
        if monotonic() > until_s:
            pytest.fail(f"not in {seconds} s")
        sleep(0.1)


def correct(stack: Stack, file: Path, *options: str) -> dict[str, Any]:
    line = [sys.executable, "-m", "procurator", "prices", "correct", str(file), "--json", *options]
    result = subprocess.run(line, env=stack.env(), capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def test_a_past_price_is_put_right_by_what_is_appended(stack: Stack, tmp_path: Path) -> None:
    org_id, file = f"corrected-{uuid4()}", tmp_path / "prices.toml"
    headers = {"Authorization": f"Bearer {stack.admin_key}"}
    with httpx.Client(base_url=stack.api_url, headers=headers, timeout=30, trust_env=False) as api:
        budget_id = define(api, org_id)
        session_path = f"/v1/sessions/{spend(stack, org_id)}"

        def shown() -> tuple[Any, ...]:
            found = api.get(session_path).json()
            spent = api.get(f"/v1/budgets/{budget_id}").json()["status"]["spent"]
            return (*map(found.get, ("cost_usd", "unpriced_calls", "unpriced_tokens", "status")), spent)

        eventually(lambda: shown() == ("10", 1, 1_000_000, "COMPLETED", "10"))
        eventually(lambda: len(api.get(f"{session_path}/model-calls").json()["items"]) == 2)
        before = api.get(f"{session_path}/model-calls").json()["items"]
        active_from = (datetime.now(UTC) - timedelta(hours=1)).isoformat(timespec="seconds")
        for version, output, total, difference in (("1", 8, "9", "-2"), ("2", 12, "13", "4")):
            file.write_text(PRICES.format(version=version, org_id=org_id, active_from=active_from, output=output))
            preview = correct(stack, file)
            assert not preview["applied"]
            assert Decimal(preview["items"][-1]["difference_usd"]) == Decimal(difference)
            applied = correct(stack, file, "--apply", "--by", f"ann of {org_id}", "--reason", f"contract {version}")
            assert applied["items"] == preview["items"], "the preview changed nothing"
            expected = (total, 0, 0, "COMPLETED", total)
            eventually(lambda expected=expected: bool(shown() == expected))  # type: ignore[misc]
            eventually(lambda: correct(stack, file)["items"] == [])
        assert api.get(f"{session_path}/model-calls").json()["items"] == before, "what was charged stands"
        which = {"action": "prices.correct", "principal": f"ann of {org_id}"}
        eventually(lambda: len(api.get("/v1/audit", params=which).json()["items"]) == 2)
        newest = api.get("/v1/audit", params=which).json()["items"][0]
        assert newest["org_id"] == org_id
        assert json.loads(newest["details"])["reason"] == "contract 2"
    differing = recount(stack)
    assert differing["budget_counters"] > 0
    assert session_path.rpartition("/")[2] not in json.dumps(differing["items"])
    assert budget_id not in json.dumps(differing["budget_items"])


def define(api: httpx.Client, org_id: str) -> str:
    """Define a budget of the organisation; return its id."""
    budget = {"org_id": org_id, "name": "all", "scope": "ORGANISATION", "limit": "100", "period": "LIFETIME"}
    answer = api.post("/v1/budgets", json={**budget, "thresholds": [{"fraction": "1", "action": "TERMINATE"}]})
    assert answer.status_code == 201, answer.text
    budget_id: str = answer.json()["budget_id"]
    return budget_id


def spend(stack: Stack, org_id: str) -> str:
    """Run a session with a call that has a price and one that has none; return its id."""
    with (
        Procurator(kafka_bootstrap_servers=stack.kafka, schema_registry_url=stack.registry_url, org_id=org_id) as sdk,
        sdk.session(agent="billing") as session,
    ):
        for provider, model in (("openai", "gpt-4o"), ("home", "made")):
            with session.model_call(provider, model) as call:
                call.complete(output_tokens=1_000_000)
    return session.session_id


def recount(stack: Stack) -> dict[str, Any]:
    line = [sys.executable, "-m", "procurator", "reconcile", "--json"]
    result = subprocess.run(line, env=stack.env(), capture_output=True, text=True, check=False, timeout=120)
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer
