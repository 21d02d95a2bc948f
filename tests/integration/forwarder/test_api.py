"""Webhooks as their owners meet them: the API, the command line, the audit, on everything that ``up`` runs."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from procurator.deploy.embedded.stack import Stack
from procurator.producers import Procurator


@pytest.fixture
def api(stack: Stack) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {stack.admin_key}"}
    with httpx.Client(base_url=stack.api_url, headers=headers, timeout=30, trust_env=False) as client:
        yield client


def _procurator(stack: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "procurator", *arguments]
    return subprocess.run(command, env={**os.environ, **stack.env("admin")}, capture_output=True, text=True, timeout=60)


def test_a_session_its_reading_and_a_checkpoint_reach_a_receiver(
    stack: Stack, api: httpx.Client, receiver: Any, until: Any, org: str, path: str
) -> None:
    address = f"http://127.0.0.1:{receiver.port}{path}"
    body = {"name": "SIEM", "url": address, "every_organisation": True, "kinds": ["SessionEnded", "AuditEvent"]}
    body["kinds"] = [*body["kinds"], "Checkpoint"]  # type: ignore[misc]
    made = api.post("/v1/webhooks", json=body).raise_for_status().json()
    secret, webhook = made.pop("secret"), f"/v1/webhooks/{made['endpoint_id']}"
    tested = _procurator(stack, "webhooks", "test", made["endpoint_id"])
    assert (tested.returncode, tested.stdout[:10]) == (0, "taken: 200"), tested
    with Procurator(kafka_bootstrap_servers=stack.kafka, schema_registry_url=stack.registry_url) as client:
        with client.session("hooked", org_id=org, owner_team_id="t") as session:
            session.turn("user", "hello")
        session_id = session.session_id

    def kinds() -> set[str]:
        return {item["kind"] for item in receiver.items(path)}

    until(lambda: kinds() == {"SessionEnded", "AuditEvent", "Checkpoint"})
    for got in receiver.received[path]:
        Webhook(secret).verify(got.body, got.headers)
    until(lambda: session_id in {item["event"].get("session_id") for item in receiver.items(path)})
    audited = [item["event"] for item in receiver.items(path) if item["kind"] == "AuditEvent"]
    assert "webhooks.write" in {event["action"] for event in audited}
    shown = until(lambda: (found := api.get(webhook).json())["delivered"] and found)
    assert (shown["status"], shown["last_test"]["succeeded"]) == ("active", True)
    rotated = json.loads(_procurator(stack, "webhooks", "list", "--json").stdout)
    everything = json.dumps([shown, rotated, audited, api.get("/v1/audit?action=webhooks.write").json()])
    assert secret not in everything
    assert "sealed" not in everything
    refused = api.post(f"{webhook}/backfill", json={"log_id": "nowhere:0", "offset": 0})
    assert (refused.status_code, [each["field"] for each in refused.json()["errors"]]) == (422, ["log_id"])
    (item, *_) = receiver.items(path)
    again = {"log_id": item["log_id"], "offset": item["offset"]}
    assert api.post(f"{webhook}/backfill", json=again).status_code == 202
    assert api.delete(webhook).status_code == 204
    assert api.get(webhook).status_code == 404


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"secret": "whsec_short"}, "a secret is whsec_ and 24 to 64 random bytes in base64"),
        ({"secret": "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, "does not begin with whsec_"),
        ({"kinds": []}, "this filter would match nothing"),
        ({"kinds": ["Everything"]}, "'Everything' is no kind of entry"),
        ({"kinds": ["Checkpoint"], "agent_ids": ["a"]}, "agents narrow session events, of which kinds names none"),
        ({"url": "https://10.0.0.1/"}, "10.0.0.1 is a private address"),
        ({"url": "https://u:p@siem.example.com/"}, "a URL with a user or password"),
        ({"url": "ftp://siem.example.com/"}, "is no address to post to"),
        ({"format": "SPLUNK_HEC"}, "takes nothing without its token"),
        ({"org_id": None}, "is needed from the operator"),
    ],
)
def test_what_cannot_work_is_refused_and_said_in_one_line(
    api: httpx.Client, change: dict[str, Any], message: str
) -> None:
    body = {"name": "n", "url": "https://siem.example.com/", "org_id": "acme", **change}
    answered = api.post("/v1/webhooks", json=body)
    assert answered.status_code == 422
    assert message in answered.json()["detail"]
    assert "\n" not in answered.json()["detail"]
    assert str(change.get("secret", "?!")) not in answered.text
