"""``procurator bench ui``: how soon the pages show something on a large ledger, in a real browser on this machine.

The ledger is that of ``bench query``. *First content* is the browser's first contentful paint, counted from the
beginning of the navigation, the server's time included; assets are cached, as they are for whoever works with the
pages. *Interaction* is from a key or click until the next paint, as Event Timing has it (below 16 ms it says nothing:
counted as 16). *Live* is from an event's recording in an SDK until the page has painted it. There is no peer.
"""

import itertools
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx

from procurator.bench.browser import chromium
from procurator.bench.query import large_ledger, percentiles
from procurator.bench.query_ledger import LONG_SESSION, LONG_TURNS
from procurator.deploy.embedded.stack import Stack
from procurator.producers import Procurator
from procurator.query_api.ui.assets import Assets

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_LOADS = 25
_WARM_UP = 3
_LIVE_EVENTS = 30
_WAIT_MS = 30_000
#: Event Timing reports nothing shorter.
_SHORTEST_MS = 16.0
_PAINTED = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
_OBSERVE = """() => {
  window.took = [];
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (entry.interactionId) window.took.push(entry.duration);
  }).observe({ type: "event", durationThreshold: 16 });
}"""
_NEXT_PAINT = (
    "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 50))))"
)
#: When each text `event N.` was painted first: the frame after the one that the change is drawn in has begun.
_WATCH = """() => {
  window.painted = {};
  new MutationObserver(() => {
    for (const [, number] of document.getElementById("trace").textContent.matchAll(/event (\\d+)\\./g)) {
      if (number in window.painted) continue;
      window.painted[number] = null;
      requestAnimationFrame(() => requestAnimationFrame(() => (window.painted[number] = Date.now())));
    }
  }).observe(document.getElementById("trace"), { subtree: true, childList: true, characterData: true });
}"""


def run(events: int = 10_000_000, data_dir: str = "") -> dict[str, Any]:
    """Return first content by page, interaction and live, p50 and p95 in ms, and the bytes of all assets."""
    with large_ledger(events, data_dir) as stack, chromium() as browser:
        page = _signed_in(browser, stack)
        first_content = {name: _said(name, _loads(load, page)) for name, load in _LOADED.items()}
        interaction = _said("interaction", [took for ask in _INTERACTIONS for took in ask(page)])
        live = _said("live", _live(page, stack))
    return {
        "latency_ms": percentiles([ms for measured in first_content.values() for ms in measured]),
        "first_content_ms": {name: percentiles(measured) for name, measured in first_content.items()},
        "interaction_ms": percentiles(interaction),
        "live_ms": percentiles(live),
        "asset_bytes": sum(map(len, Assets.read().files.values())),
    }


def _said(name: str, measured: list[float]) -> list[float]:
    print(f"{name}: {percentiles(measured)}", file=sys.stderr, flush=True)
    return measured


def _signed_in(browser: "Browser", stack: Stack) -> "Page":
    headers = {"Authorization": f"Bearer {stack.admin_key}"}
    link = httpx.post(f"{stack.api_url}/signin/links", headers=headers, trust_env=False).raise_for_status().json()
    page = browser.new_context(base_url=stack.api_url, viewport={"width": 1440, "height": 900}).new_page()
    page.set_default_timeout(_WAIT_MS)
    page.goto(link["path"])
    page.goto("/sessions")  # now the pages know the viewer's zone
    return page


def _opened(path: str) -> Callable[["Page", int], Any]:
    return lambda page, _number: page.goto(path, wait_until="commit")


def _listed(page: "Page", _number: int) -> None:
    page.locator(".facets section").first.wait_for()  # what the page before asked for besides
    page.goto("/sessions", wait_until="commit")


def _filtered(page: "Page", number: int) -> None:
    page.locator(".facets section").first.wait_for()
    page.locator("[name=q]").fill(f"agent:agent-{number % 40}")
    with page.expect_navigation(wait_until="commit"):
        page.keyboard.press("Enter")


def _turn(page: "Page", number: int) -> None:
    turn = (number * 7_919) % LONG_TURNS
    page.goto(f"/sessions/{LONG_SESSION}?turn={turn}#turn-{turn}", wait_until="commit")


_LOADED: dict[str, Callable[["Page", int], Any]] = {
    "list": _listed,
    "filter change": _filtered,
    "long session": _opened(f"/sessions/{LONG_SESSION}"),
    "turn of it": _turn,
    "tool calls of it": _opened(f"/sessions/{LONG_SESSION}/tools"),
    "overview": _opened("/"),
}


def _loads(load: Callable[["Page", int], Any], page: "Page") -> list[float]:
    """Return first content of one kind of page; before the first one, the list is open."""
    page.goto("/sessions")
    measured = []
    for number in range(_WARM_UP + _LOADS):
        load(page, number)
        measured.append(float(page.wait_for_function(_PAINTED).json_value()))
        page.wait_for_load_state()
    return measured[_WARM_UP:]


def _on_the_list(page: "Page") -> list[float]:
    page.goto("/sessions")
    page.evaluate(_OBSERVE)
    filters = page.locator("#filters > summary")
    clicks = [filters.click, filters.click, page.get_by_role("button", name="Theme").click]
    keys = ["j", "j", "k", "/", "c", "o", "s", "t"]
    return _answered(page, [*clicks, *(lambda key=key: page.keyboard.press(key) for key in keys)])


def _on_a_session(page: "Page") -> list[float]:
    page.goto(f"/sessions/{LONG_SESSION}?turn=10000#turn-10000")
    page.evaluate(_OBSERVE)
    asked: list[Callable[[], Any]] = [page.locator("article.turn:visible .permalink").first.click]
    if page.locator(".unfold:visible").count():
        asked += [page.locator(".unfold:visible").first.click] * 2
    return _answered(page, [*asked, *itertools.repeat(lambda: page.keyboard.press("n"), 4)])


_INTERACTIONS = (_on_the_list, _on_a_session)


def _answered(page: "Page", asked: list[Callable[[], Any]]) -> list[float]:
    """Return for each interaction how long its slowest event took until the next paint."""
    measured = []
    for ask in asked:
        page.evaluate("() => { window.took.length = 0 }")
        ask()
        page.evaluate(_NEXT_PAINT)
        measured.append(max([_SHORTEST_MS, *page.evaluate("window.took")]))
    return measured


def _status(page: "Page", path: str) -> int:
    answer = page.goto(path)
    return 0 if answer is None else answer.status


def _live(page: "Page", stack: Stack) -> list[float]:
    """Return how long each event took from the SDK to the screen."""
    sdk = Procurator(
        kafka_bootstrap_servers=stack.kafka, schema_registry_url=stack.registry_url, org_id="bench", owner_team_id="ui"
    )
    measured = []
    with sdk, sdk.session(agent="bench-ui") as session:
        session.turn("user", "Begin.")
        sdk.flush()
        while _status(page, f"/sessions/{session.session_id}") == httpx.codes.NOT_FOUND:
            time.sleep(0.2)
        page.locator("[data-live]:not([hidden])").wait_for()
        page.evaluate(_WATCH)
        for number in range(_LIVE_EVENTS):
            began_s = time.time()
            session.turn("assistant", f"This is event {number}.")
            at_ms = page.wait_for_function(
                "(number) => window.painted[number]", arg=str(number), polling=20
            ).json_value()
            measured.append(at_ms - began_s * 1_000)
    return measured
