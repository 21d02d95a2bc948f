"""Through the API and the command line, on the whole stack: define, spend, read, terminate, approve, refuse."""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import pytest

from procurator.deploy.embedded.components import ALL
from procurator.deploy.embedded.layout import Ports
from procurator.deploy.embedded.stack import Stack, StackConfig


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(StackConfig(tmp_path_factory.mktemp("budgets-api"), Ports.free(), ALL, say=print)) as stack:
        yield stack


@pytest.fixture(scope="module")
def api(stack: Stack) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {stack.admin_key}"}
    with httpx.Client(base_url=stack.api_url, headers=headers, timeout=30, trust_env=False) as client:
        yield client


def definition(agent_id: str, **changes: Any) -> dict[str, Any]:
    thresholds = [{"fraction": "0.5", "action": "REQUIRE_APPROVAL"}, {"fraction": "1", "action": "TERMINATE"}]
    return {
        "org_id": "acme",
        "name": agent_id,
        "scope": "AGENT",
        "scope_id": agent_id,
        "unit": "TOKENS",
        "limit": "1000",
        "period": "DAY",
        "time_zone": "Europe/Zurich",
        "thresholds": thresholds,
        **changes,
    }


def agent() -> str:
    return f"agent-{uuid4()}"


def command(stack: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = stack.env() | {"PROCURATOR_API_URL": stack.api_url, "PROCURATOR_API_KEY": stack.admin_key}
    line = [sys.executable, "-m", "procurator", *arguments]
    return subprocess.run(line, env=env, capture_output=True, text=True, check=False, timeout=60)


def test_a_budget_from_definition_to_history(api: httpx.Client, fleet: Any, listener: Any) -> None:
    name = agent()
    created = api.post("/v1/budgets", json=definition(name))
    assert created.status_code == 201, created.text
    path = f"/v1/budgets/{created.json()['budget_id']}"
    assert created.json() in api.get("/v1/budgets").json()["items"]
    assert created.json()["status"]["spent"] == "0"
    session_id = fleet.start(name)
    fleet.call(session_id, name, 600)
    status = fleet.wait(lambda: shown(api, path, "600"), "the spend is shown")
    assert [crossing["action"] for crossing in status["crossed"]] == ["REQUIRE_APPROVAL"]
    assert not status["exhausted"]
    pending = fleet.wait(lambda: pending_of(api, session_id), "the session waits for an approval")
    answer = api.post(f"/v1/sessions/{session_id}/approve", json={"reason": "it is worth it"})
    assert answer.status_code == 202, answer.text
    assert answer.json()["approval_id"] == pending[0]
    fleet.wait(lambda: pending_of(api, session_id) == [], "the session goes on")
    assert api.post(f"/v1/sessions/{session_id}/deny").status_code == 409
    fleet.wait(lambda: len(listener.signals(session_id)) == 2, "it is told to go on")
    assert [signal["kind"] for signal in listener.signals(session_id)] == ["PAUSE", "RESUME"]
    changed = api.put(path, json=definition(name, limit="600"))
    assert (changed.status_code, changed.json()["version"]) == (200, 2)
    fleet.wait(lambda: len(listener.signals(session_id)) == 3, "the lower limit applies to what is running")
    detail = fleet.wait(lambda: exhausted_in_history(api, path), "the history is kept")
    assert detail["status"]["exhausted"]
    assert detail["history"][0]["spent"] == "600"
    assert api.delete(path).status_code == 204
    assert api.get(path).status_code == 404


def shown(api: httpx.Client, path: str, spent: str) -> dict[str, Any] | None:
    status: dict[str, Any] = api.get(path).json()["status"]
    return status if status["spent"] == spent else None


def pending_of(api: httpx.Client, session_id: str) -> list[str] | None:
    answer = api.get(f"/v1/sessions/{session_id}")
    pending: list[str] | None = answer.json()["pending_approvals"] if answer.status_code == 200 else None
    return pending


def exhausted_in_history(api: httpx.Client, path: str) -> dict[str, Any] | None:
    detail: dict[str, Any] = api.get(path).json()
    return detail if any(status["exhausted"] for status in detail["history"]) else None


def test_of_changes_at_once_none_is_lost_and_a_deleted_budget_stays_so(api: httpx.Client) -> None:
    name = agent()
    path = f"/v1/budgets/{api.post('/v1/budgets', json=definition(name)).json()['budget_id']}"
    with ThreadPoolExecutor(8) as threads:
        changes = [threads.submit(api.put, path, json=definition(name, limit=str(2000 + n))) for n in range(7)]
        assert sorted(each.result().json()["version"] for each in changes) == list(range(2, 9))
        changes = [threads.submit(api.put, path, json=definition(name, limit=str(3000 + n))) for n in range(7)]
        assert api.delete(path).status_code == 204
        assert {each.result().status_code for each in changes} <= {200, 404}
    assert api.get(path).status_code == 404


def test_what_is_wrong_with_a_definition_is_said_at_its_field(api: httpx.Client) -> None:
    answer = api.post("/v1/budgets", json=definition("a", limit="-1"))
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error == {"field": "limit", "message": '-1 is negative; for example "2000000" (TOKENS)'}
    assert api.get(f"/v1/budgets/{uuid4()}").status_code == 404


def test_terminate_one_and_many(api: httpx.Client, fleet: Any, listener: Any, stack: Stack) -> None:
    name = agent()
    sessions = [fleet.start(name, labels={"case": "loop"}) for _ in range(3)]
    fleet.wait(lambda: all(api.get(f"/v1/sessions/{each}").status_code == 200 for each in sessions), "they are known")
    path = f"/v1/sessions/{sessions[0]}/terminate"
    first, again = (api.post(path, json={"reason": "it loops"}) for _ in range(2))
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["signal_id"] == again.json()["signal_id"]
    assert (first.json()["requested_by"], first.json()["reason"]) == ("key:admin", "it loops")
    fleet.end(sessions[0], name, "TERMINATED")
    fleet.wait(lambda: api.post(path).status_code == 409, "one that is over is a conflict")
    assert api.post(path).json()["detail"].startswith(f"session {sessions[0]} is over already: TERMINATED since ")
    assert api.post(f"/v1/sessions/{uuid4()}/terminate").status_code == 404
    nothing = api.post("/v1/sessions/terminate", json={"reason": "all of them"})
    assert (nothing.status_code, nothing.json()["errors"][0]["field"]) == (422, "q")
    switch = {"q": f"agent:{name}", "labels": {"case": "loop"}}
    preview = fleet.wait(
        lambda: p if (p := api.post("/v1/sessions/terminate", json=switch).json())["matched"] == 2 else None,
        "the preview matches the two that are open",
    )
    assert set(preview["session_ids"]) == set(sessions[1:])
    assert not listener.signals(sessions[1])
    other = api.post("/v1/sessions/terminate", json={**switch, "labels": {}, "confirm": preview["confirm"]})
    assert other.status_code == 422
    done = api.post("/v1/sessions/terminate", json={**switch, "confirm": preview["confirm"]})
    assert (done.status_code, done.json()["terminated"], done.json()["matched"]) == (202, True, 2)
    for session_id in sessions[1:]:
        fleet.wait(lambda each=session_id: listener.signals(each), "each of them is told")
        shown = fleet.wait(
            lambda each=session_id: api.get(f"/v1/sessions/{each}").json()["terminating"], "it is shown as terminating"
        )
        assert (shown["cause"], shown["requested_by"]) == ("PRINCIPAL", "key:admin")
    by_command = fleet.start(name)
    fleet.wait(lambda: api.get(f"/v1/sessions/{by_command}").status_code == 200, "it is known")
    result = command(stack, "terminate", by_command, "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["session_id"] == by_command
    unknown = command(stack, "terminate", str(uuid4()))
    assert (unknown.returncode, unknown.stderr.count("\n")) == (2, 1)


def test_budgets_on_the_command_line(stack: Stack) -> None:
    whose = ("--org", "acme", "--scope", "agent", "--scope-id", "cli")
    limit = ("--limit", "5", "--period", "day", "--threshold", "0.9=notify")
    made = command(stack, "budgets", "set", *whose, *limit, "--json")
    assert made.returncode == 0, made.stderr
    budget = json.loads(made.stdout)
    assert budget["thresholds"] == [{"fraction": "0.9", "action": "NOTIFY"}]
    changed = command(stack, "budgets", "set", "--id", budget["budget_id"], "--limit", "7", "--dry-run", "--json")
    assert json.loads(changed.stdout)["limit"] == "7", changed.stderr
    listed = json.loads(command(stack, "budgets", "list", "--json").stdout)
    assert [b["dry_run"] for b in listed if b["budget_id"] == budget["budget_id"]] == [True]
    assert "cli" in command(stack, "budgets", "show", budget["budget_id"]).stdout
    wrong = command(stack, "budgets", "set", "--id", budget["budget_id"], "--time-zone", "Mars/Olympus")
    assert (wrong.returncode, wrong.stderr.strip()) == (
        2,
        "procurator: time_zone: 'Mars/Olympus' is no IANA time zone; for example \"Europe/Zurich\"",
    )
    assert command(stack, "budgets", "delete", budget["budget_id"]).returncode == 0
    assert command(stack, "budgets", "show", budget["budget_id"]).returncode == 2
