"""The API at the end of the whole pipeline: what was produced is readable soon, and an outage is said, not hidden."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from procurator.deploy.embedded.stack import Stack
from procurator.producers import Procurator

#: What bounds it: the stream publishes within 1 s, the sink gathers for up to 1 s, and after an outage looks again
#: within 5 s. On a quiet machine it is some 0.5 s (docs/performance.md); the rest is for one that is not quiet.
_VISIBLE_S = 60.0
_PAUSE_S = 0.02


@pytest.fixture(scope="module")
def api(stack: Stack) -> Iterator[httpx.Client]:
    """The API as the stack runs it, with the admin key."""
    headers = {"Authorization": f"Bearer {stack.admin_key}"}
    with httpx.Client(base_url=stack.api_url, headers=headers, timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def procurator(stack: Stack) -> Iterator[Procurator]:
    with Procurator(
        kafka_bootstrap_servers=stack.kafka, schema_registry_url=stack.registry_url, agent="billing", org_id="acme"
    ) as procurator:
        yield procurator


def _await(condition: Callable[[], bool], timeout_s: float = _VISIBLE_S) -> float:
    """Return the seconds until ``condition`` held."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < timeout_s, f"not after {timeout_s} s"
        time.sleep(_PAUSE_S)
    return time.monotonic() - began


def test_what_is_produced_is_readable_while_the_session_runs(procurator: Procurator, api: httpx.Client) -> None:
    with procurator.session(user="ada") as session:
        path = f"/v1/sessions/{session.session_id}"
        for count in (1, 2, 3):
            session.turn("user", f"question {count}")
            procurator.flush()
            _await_turns(api, path, count)


def _await_turns(api: httpx.Client, path: str, count: int) -> None:
    def counted() -> bool:
        response = api.get(path)
        return response.status_code == 200 and response.json()["turns"] == count

    _await(counted)


def test_a_whole_session_and_its_place_in_the_list(procurator: Procurator, api: httpx.Client) -> None:
    with procurator.session(user="ada", labels={"case": "whole"}) as session:
        session.turn("user", "Where is my order?  ")
        with session.model_call("openai", "gpt-4o") as call:
            call.complete(input_tokens=100, output_tokens=20)
        with session.tool_call("get_order", {"id": 4711}) as tool:
            tool.complete({"state": "shipped"})
        session.turn("assistant", "It is on its way.")
    procurator.flush()
    path = f"/v1/sessions/{session.session_id}"

    def newest() -> list[str]:
        return [item["session_id"] for item in api.get("/v1/sessions", params={"limit": 1}).json()["items"]]

    _await(lambda: newest() == [session.session_id])
    _await(lambda: api.get(path).json()["status"] == "COMPLETED")
    # The state may be published before the entries it was made from are in the ledger: two tables, two writers.
    _await(lambda: len(api.get(f"{path}/turns").json()["items"]) == 2)
    contents = [turn["content"] for turn in api.get(f"{path}/turns").json()["items"]]
    assert contents == ["Where is my order?  ", "It is on its way."]
    [tool_call] = api.get(f"{path}/tool-calls").json()["items"]
    assert (tool_call["status"], tool_call["tool_name"]) == ("SUCCESS", "get_order")
    [model_call] = api.get(f"{path}/model-calls").json()["items"]
    assert (model_call["total_tokens"], model_call["unpriced"]) == (120, False)


def test_an_outage_of_clickhouse_is_a_503_and_ends_by_itself(stack: Stack, api: httpx.Client) -> None:
    for _ in range(5):  # it may be back before we have asked
        before = stack.starts("clickhouse")
        stack.kill("clickhouse", signal.SIGKILL)
        response, ready = api.get("/v1/sessions"), api.get("/readyz")
        assert api.get("/healthz").status_code == 200
        stack.await_ready("clickhouse", starts=before + 1)
        if response.status_code == ready.status_code == 503:
            break
    assert (response.status_code, ready.status_code) == (503, 503)
    assert response.headers["content-type"] == "application/problem+json"
    assert int(response.headers["retry-after"]) >= 1
    _await(lambda: api.get("/v1/sessions").status_code == 200)


def test_the_api_stops_cleanly_and_at_once(stack: Stack, api: httpx.Client) -> None:
    before, starts, said = stack.pid("api"), stack.starts("api"), stack.log("api").stat().st_size
    stack.kill("api", signal.SIGTERM)
    _await(lambda: not Path(f"/proc/{before}").exists(), 15)
    stack.await_ready("api", starts + 1)
    assert api.get("/healthz").status_code == 200
    assert b"Traceback" not in stack.log("api").read_bytes()[said:]
