"""A real browser on the real stack: one stack, one Chromium and one world of sessions for all tests.

Skipped, saying why, where Chromium is not installed. Screenshots go to ``PROCURATOR_TEST_ARTEFACTS`` (a folder), else
to pytest's own temporary folder.
"""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect

from procurator.bench.browser import chromium, installed
from procurator.deploy.embedded.components import ALL
from procurator.deploy.embedded.layout import Ports
from procurator.deploy.embedded.stack import Stack, StackConfig
from procurator.producers import Procurator
from procurator.producers.simulator import simulate

ARRIVAL_S = 120.0
#: Everything runs on two processors here, the browser too.
_PATIENCE_MS = 60_000
expect.set_options(timeout=_PATIENCE_MS)
LONG_TURNS = 20_000
ORG, TEAM = "shop", "customer-care"
#: Runs where it is taken for HTML, an attribute, a URL or Markdown, and says so in the page's title.
EVIL = (
    "\"'><img src=x onerror=\"document.title='pwned'\"><script>document.title='pwned'</script>"
    "[x](javascript:document.title='pwned') {{7*7}} `</script>`"
)
#: Where the operator keeps agents and tools: the pages link to them.
OUTSIDE = {
    "PROCURATOR_UI_AGENT_URL": "https://agents.example/{agent_id}",
    "PROCURATOR_UI_TOOL_URL": "https://registry.example/{mcp_server_id}/{tool_name}",
}


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Everything that ``procurator up`` runs."""
    if installed() is None:
        pytest.skip("the browser tests need Chromium: there is no `chromium` on the PATH")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in OUTSIDE.items():
            patch.setenv(name, value)
        with Stack(StackConfig(tmp_path_factory.mktemp("stack"), Ports.free(), ALL, say=print)) as stack:
            yield stack


@pytest.fixture(scope="session")
def api(stack: Stack) -> Iterator[httpx.Client]:
    """The API with the admin key."""
    headers = {"Authorization": f"Bearer {stack.admin_key}"}
    with httpx.Client(base_url=stack.api_url, headers=headers, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture(scope="session")
def sdk(stack: Stack) -> Iterator[Procurator]:
    """The SDK, publishing to the stack."""
    with Procurator(
        kafka_bootstrap_servers=stack.kafka, schema_registry_url=stack.registry_url, org_id=ORG, owner_team_id=TEAM
    ) as procurator:
        yield procurator


@dataclass
class World:
    """Sessions by what they show, a budget and a webhook."""

    shop: str = ""
    failed: str = ""
    evil: str = ""
    foreign: str = ""
    long: str = ""
    caller: str = ""
    called: str = ""
    simulated: int = 0
    budget: str = ""
    hook: str = ""
    ids: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def world(api: httpx.Client, sdk: Procurator) -> World:
    """Publish the sessions, and wait until the API shows all of each."""
    made = World()
    with ThreadPoolExecutor(1) as aside:  # Playwright's loop runs in this thread already
        made.simulated = len(aside.submit(simulate, sdk, 120, 7).result())
    made.shop, made.failed, made.evil, made.foreign = _shop(sdk), _failed(sdk), _evil(sdk), _foreign(sdk)
    made.caller, made.called = _family(sdk)
    made.long = _long(sdk)
    sdk.flush()
    made.ids = [made.shop, made.failed, made.evil, made.foreign, made.caller, made.called, made.long]
    until(lambda: _listed(api) >= made.simulated + len(made.ids), every_s=0.3)
    for session_id in made.ids[:-1]:
        until(lambda: "SessionEnded" in api.get(f"/v1/sessions/{session_id}/events").text)  # noqa: B023
    until(lambda: f'id="turn-{LONG_TURNS - 1}"' in api.get(f"/sessions/{made.long}/turns?first={LONG_TURNS - 1}").text)
    made.budget, made.hook = _budget(api), _hook(api)
    return made


def until(condition: Callable[[], Any], timeout_s: float = ARRIVAL_S, every_s: float = 0.05) -> Any:
    """Return what ``condition`` returned once it is true."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        time.sleep(every_s)
    return found


@pytest.fixture(scope="session", name="until")
def _until() -> Callable[..., Any]:
    return until


@pytest.fixture
def running(sdk: Procurator, api: httpx.Client) -> Callable[[str], Any]:
    """Start a session of an agent; it is in the list when it is returned. Who asks for it ends it."""

    def start(agent: str) -> Any:
        session = sdk.session(agent=agent, user="ada").start()
        sdk.flush()
        until(lambda: session.session_id in api.get(f"/v1/sessions?q=agent:{agent}").text)
        return session

    return start


def _listed(api: httpx.Client) -> int:
    """Return how many sessions the list shows whose start has been seen."""
    items = api.get("/v1/sessions", params={"limit": 1000}).json().get("items", [])
    return sum(item["started_at"] is not None for item in items)


def _shop(sdk: Procurator) -> str:
    """Markdown, thinking, JSON, tools that succeed, fail and time out, a long message, tokens and cost."""
    with sdk.session(agent="shop-bot", agent_name="Shop bot", user="ada@example.com", labels={"env": "prod"}) as s:
        s.turn("system", "You help customers.")
        s.turn("user", "Where is my **order**?\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nprint('hi')\n```")
        with s.model_call("openai", "gpt-4o") as call:
            call.complete(input_tokens=1200, cached_input_tokens=800, output_tokens=300)
        s.turn("assistant", "Let me look.", thinking="Which order? The zebra one.")
        with s.tool_call("get_order", {"id": 4711, "deep": {"list": [1, 2, {"x": None}]}}, mcp_server_id="orders") as t:
            t.complete({"state": "shipped", "lines": [{"sku": "A-1", "qty": 2}]})
        with s.tool_call("refund", {"id": 4711}, mcp_server_id="billing", timeout_ms=5000) as t:
            t.complete(None, status="TIMEOUT", error_message="the billing server did not answer")
        with s.tool_call("mail", {"to": "ada"}) as t:
            t.complete(None, status="ERROR", error_message="mailbox is full")
        s.turn("tool", {"state": "shipped"})
        with s.model_call("nobody", "unheard-of-model") as call:
            call.complete(input_tokens=10, output_tokens=5)
        s.turn("assistant", "It is on its way. " + "A long story follows. " * 200)
        return s.session_id


def _failed(sdk: Procurator) -> str:
    session = sdk.session(agent="fixer", user="bo").start()
    session.turn("user", "Please fix it.")
    session.end("FAILED", error=RuntimeError("the repository is gone"))
    return session.session_id


def _evil(sdk: Procurator) -> str:
    """Script in every field that an agent or its user writes."""
    with sdk.session(
        agent=f"evil {EVIL}", agent_name=EVIL, user=EVIL, team_id="t", team_name=EVIL, labels={EVIL: EVIL},
        workflow_id=EVIL, workflow_run_id=EVIL,
    ) as s:  # fmt: skip
        s.turn("user", EVIL)
        with s.model_call(EVIL, EVIL) as call:
            call.complete(input_tokens=1, output_tokens=1)
        s.turn("assistant", EVIL, thinking=EVIL)
        with s.tool_call(EVIL, {EVIL: EVIL}, mcp_server_id=EVIL, tool_call_id=EVIL) as t:
            t.complete({EVIL: [EVIL]}, status="ERROR", error_message=EVIL)
        s.turn("tool", EVIL)
        s.turn("tool", {"html": EVIL})
        s.end("FAILED", error=RuntimeError(EVIL), reason=EVIL)
        return s.session_id


@pytest.fixture(scope="module")
def hostile(api: httpx.Client, sdk: Procurator, world: World) -> Iterator[dict[str, str]]:
    """Script in what people name and in what a session asks and ends with, by where pages show it."""
    ended = sdk.session(agent="evil-end").start()
    ended.end("TERMINATED", ended_by=EVIL, reason=EVIL)
    waiting = sdk.session(agent="evil-wait", schedule_id=EVIL).start()
    with waiting.tool_call(EVIL, {}, tool_call_id=EVIL):
        waiting.request_approval(EVIL, approval_id=EVIL, tool_call_id=EVIL, budget_id=EVIL)
        sdk.flush()
    budget = {
        "org_id": ORG,
        "name": EVIL,
        "scope": "AGENT",
        "scope_id": EVIL,
        "limit": "1",
        "period": "DAY",
        "thresholds": [{"fraction": "1", "action": "NOTIFY"}],
    }
    hook = {"org_id": ORG, "name": EVIL, "url": "https://siem.example/?" + quote(EVIL), "enabled": False}
    key = {"org_id": ORG, "name": EVIL, "permissions": ["sessions:read"], "owner_team_ids": ["t"]}
    made = {
        "budget": api.post("/v1/budgets", json=budget).raise_for_status().json()["budget_id"],
        "hook": api.post("/v1/webhooks", json=hook).raise_for_status().json()["endpoint_id"],
        "key": api.post("/v1/keys", json=key).raise_for_status().json()["key_id"],
        "ended": ended.session_id,
        "waiting": waiting.session_id,
        "evil": world.evil,
    }
    until(lambda: "SessionEnded" in api.get(f"/v1/sessions/{ended.session_id}/events").text)
    until(lambda: "ApprovalRequested" in api.get(f"/v1/sessions/{waiting.session_id}/events").text)
    until(lambda: api.get(f"/v1/sessions/{waiting.session_id}").json()["pending_approvals"])
    yield made
    waiting.end()
    for path in (f"budgets/{made['budget']}", f"webhooks/{made['hook']}", f"keys/{made['key']}"):
        api.delete(f"/v1/{path}").raise_for_status()


def _foreign(sdk: Procurator) -> str:
    with sdk.session(agent="قسم-الدعم", agent_name="مساعد الفواتير الطويل جداً", user="משה") as s:
        s.turn("user", "أين طلبي؟ الرقم 4711")
        s.turn("assistant", "הזמנה 4711 בדרך. " + "x" * 400)
        return s.session_id


def _family(sdk: Procurator) -> tuple[str, str]:
    """A session of a workflow that calls another over A2A, whose tokens are a guess."""
    with sdk.session(agent="planner", user="cy", workflow_id="onboarding", workflow_run_id="run 7") as caller:
        caller.turn("user", "Welcome the new customer.")
        with sdk.session(agent="greeter", parent_session_id=caller.session_id) as called:
            with called.model_call("openai", "gpt-4o") as call:
                call.complete(input_tokens=100, output_tokens=10, estimated=["output_tokens"])
            called.turn("assistant", "Welcome!")
    return caller.session_id, called.session_id


def _long(sdk: Procurator) -> str:
    with sdk.session(agent="marathon", user="ada@example.com") as s:
        for index in range(LONG_TURNS // 2):
            s.turn("user", f"Question {index}: what is {index} plus {index}?")
            s.turn("assistant", f"It is **{2 * index}**." + (" The needle is here." if index == 7_777 else ""))
        return s.session_id


def _budget(api: httpx.Client) -> str:
    definition = {
        "org_id": ORG,
        "name": "Shop bot, daily",
        "scope": "AGENT",
        "scope_id": "shop-bot",
        "limit": "10.00",
        "period": "DAY",
        "thresholds": [{"fraction": "0.8", "action": "NOTIFY"}, {"fraction": "1", "action": "TERMINATE"}],
    }
    made: str = api.post("/v1/budgets", json=definition).raise_for_status().json()["budget_id"]
    return made


def _hook(api: httpx.Client) -> str:
    definition = {"org_id": ORG, "name": "Security operations", "url": "https://siem.example/", "enabled": False}
    made: str = api.post("/v1/webhooks", json=definition).raise_for_status().json()["endpoint_id"]
    return made


@pytest.fixture(scope="session")
def browser(stack: Stack) -> Iterator[Browser]:
    """Chromium, headless."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def signed_in(stack: Stack, browser: Browser, api: httpx.Client) -> Any:
    """The cookies of somebody who signed in with a link, in Zurich."""
    context = browser.new_context(base_url=stack.api_url, timezone_id="Europe/Zurich")
    page = context.new_page()
    page.goto(api.post("/signin/links").json()["path"])
    page.goto("/sessions")
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def context(stack: Stack, browser: Browser, signed_in: Any) -> Iterator[BrowserContext]:
    """A window of somebody who is signed in."""
    context = browser.new_context(
        base_url=stack.api_url,
        storage_state=signed_in,
        timezone_id="Europe/Zurich",
        viewport={"width": 1440, "height": 900},
        permissions=["clipboard-read", "clipboard-write"],
    )
    context.set_default_timeout(_PATIENCE_MS)
    yield context
    context.close()


@pytest.fixture
def may_fail() -> list[str]:
    """Beginnings of the paths whose loading may fail, to be filled by a test that makes it fail."""
    return []


@pytest.fixture
def page(stack: Stack, context: BrowserContext, may_fail: list[str]) -> Iterator[Page]:
    """A page on which no script may fail, everything loads and nothing may be said on the console."""
    page = context.new_page()
    complaints: list[str] = []
    #: Pages that were opened: their status is for the test to judge, 404 of one that is not there.
    opened: set[str] = set()

    def asked(request: Request) -> None:
        if request.is_navigation_request():
            opened.add(request.url.partition("#")[0])

    def heard(message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning"):
            return
        if "Failed to load resource" in message.text:
            address = message.location["url"].partition("#")[0]
            if address in opened or address.removeprefix(stack.api_url).startswith(tuple(may_fail)):
                return
            complaints.append(f"{message.text} {address}")
        else:
            complaints.append(f"{message.type}: {message.text}")

    page.on("request", asked)
    page.on("console", heard)
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    yield page
    assert not complaints


@pytest.fixture(scope="session")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go."""
    named = os.environ.get("PROCURATOR_TEST_ARTEFACTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("artefacts")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
