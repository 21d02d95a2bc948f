"""The page of one session: each tab, the long one, and the proof."""

import json
import re
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Page, Route, expect

from procurator.deploy.embedded.stack import Stack


def test_the_header(page: Page, world: Any) -> None:
    page.goto(f"/sessions/{world.shop}")
    expect(page.get_by_role("heading", level=1)).to_have_text("Shop bot")
    header = page.locator("#header")
    for text in ("COMPLETED", "ada@example.com", "2,315", "Shop bot, daily", "env prod", "Export"):
        expect(header).to_contain_text(text)
    expect(header.locator(".title .mark", has_text=re.compile("Signed|Signing"))).to_be_visible()
    assert header.get_by_role("button", name="Terminate Session").count() == 0


def test_the_header_leads_to_those_around_it(page: Page, world: Any) -> None:
    page.goto(f"/sessions/{world.called}")
    expect(page.locator("#header h1 a")).to_have_attribute("href", "https://agents.example/greeter")
    page.get_by_role("link", name=f"called by {world.caller[:8]}").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("planner")
    page.get_by_role("link", name="called 1 session", exact=True).click()
    expect(page.locator("tr[data-session]")).to_have_count(1)
    expect(page.locator(f"#s-{world.called}")).to_be_visible()
    for link in ("workflow onboarding", "run run 7"):
        page.goto(f"/sessions/{world.caller}")
        page.get_by_role("link", name=link, exact=True).click()
        expect(page.locator(f"#s-{world.caller}")).to_be_visible()
        expect(page.locator(".chip")).to_have_count(1)


def test_a_failure_says_why(page: Page, world: Any) -> None:
    page.goto(f"/sessions/{world.failed}")
    expect(page.locator("#header .note.bad")).to_contain_text("RuntimeError the repository is gone")


def test_the_trace(page: Page, world: Any) -> None:
    page.goto(f"/sessions/{world.shop}")
    turns = page.locator("article.turn")
    assert [turn.locator("header strong").inner_text() for turn in turns.all()] == [
        "System", "User", "Assistant", "Tool", "Assistant",
    ]  # fmt: skip
    icons = "(turns) => turns.map((turn) => turn.querySelector('header use').getAttribute('href'))"
    assert turns.evaluate_all(icons) == ["#i-gear", "#i-user", "#i-agent", "#i-tool", "#i-agent"]
    asked = page.locator("#turn-1 .body")
    expect(asked.locator("strong")).to_have_text("order")
    expect(asked.locator("table td").first).to_have_text("1")
    expect(asked.locator("pre code")).to_have_text("print('hi')\n")
    answered = page.locator("#turn-2")
    expect(answered.locator(".meta")).to_contain_text("gpt-4o")
    expect(answered.locator(".meta")).to_contain_text("2,000 in · 300 out")
    expect(answered.locator(".thinking .body")).to_be_hidden()
    answered.locator(".thinking summary").click()
    expect(answered.locator(".thinking .body")).to_contain_text("The zebra one.")
    assert [call.locator("bdi").first.inner_text() for call in answered.locator(".call").all()] == [
        "get_order", "refund", "mail",
    ]  # fmt: skip
    expect(page.locator("#turn-3 .json .k")).to_have_text("state")


def test_a_long_message_is_folded_until_it_is_asked_for(page: Page, world: Any) -> None:
    page.goto(f"/sessions/{world.shop}")
    body = page.locator("#turn-4 .body")
    folded = body.bounding_box()
    page.locator("#turn-4").get_by_role("button", name="Show all").click()
    whole = body.bounding_box()
    assert folded is not None
    assert whole is not None
    assert folded["height"] < 300 < whole["height"]


def test_a_turn_has_an_address_of_its_own(page: Page, world: Any) -> None:
    page.goto(f"/sessions/{world.shop}")
    page.locator("#turn-3 .permalink").click()
    expect(page.locator("#turn-3")).to_have_class(re.compile("here"))
    assert page.url.endswith(f"/sessions/{world.shop}?turn=3#turn-3")
    page.go_back()
    assert page.url.endswith(f"/sessions/{world.shop}")


def test_a_marker_leads_to_the_whole_call(page: Page, world: Any) -> None:
    page.goto(f"/sessions/{world.shop}")
    page.locator(".call", has_text="get_order").click()
    expect(page.get_by_role("link", name="Tool Calls")).to_have_attribute("aria-current", "page")
    call = page.locator("article.tool", has_text="get_order")
    expect(call).to_be_in_viewport()
    expect(call.locator(".json").first).to_contain_text("4711")
    call.locator(".json details details summary").first.click()


def test_tool_calls_say_how_they_ended(page: Page, world: Any) -> None:
    page.goto(f"/sessions/{world.shop}/tools")
    timeout = page.locator("article.tool", has_text="refund")
    expect(timeout.locator(".badge")).to_have_text("TIMEOUT")
    expect(timeout).to_contain_text("after the configured 5.0 s: the billing server did not answer")
    expect(timeout).to_contain_text("billing")
    registry = timeout.locator("header a").first
    expect(registry).to_have_attribute("href", "https://registry.example/billing/refund")
    error = page.locator("article.tool", has_text="mailbox is full")
    expect(error.locator(".badge")).to_have_text("ERROR")
    expect(error).to_contain_text("local tool")
    error.get_by_role("link", name="turn 2").click()
    expect(page.locator("#turn-2")).to_be_in_viewport()


def test_time_and_money(page: Page, world: Any) -> None:
    page.goto(f"/sessions/{world.shop}/timeline")
    expect(page.locator(".waterfall tbody tr")).to_have_count(5)
    expect(page.locator(".waterfall rect.bad")).to_have_count(2)
    page.goto(f"/sessions/{world.shop}/cost")
    expect(page.locator("table").first.locator("tbody tr")).to_have_count(2)
    expect(page.get_by_role("row", name=re.compile("unheard-of-model")).first).to_contain_text("unpriced")
    expect(page.get_by_role("row", name=re.compile("gpt-4o")).first).to_contain_text("1,200")


def test_events_as_they_stand(page: Page, world: Any, api: httpx.Client) -> None:
    page.goto(f"/sessions/{world.shop}/events")
    entries = api.get(f"/v1/sessions/{world.shop}/events", params={"limit": 1000}).json()["items"]
    expect(page.locator(".entries > li")).to_have_count(len(entries))
    page.locator(".entries summary").first.click()
    expect(page.locator(".entries li").first).to_contain_text(entries[0]["leaf_hash"])


def test_errors_one_after_the_other(page: Page, world: Any) -> None:
    page.goto(f"/sessions/{world.shop}")
    page.keyboard.press("n")
    expect(page.locator(".call.here")).to_contain_text("refund")
    page.keyboard.press("n")
    expect(page.locator(".call.here")).to_contain_text("mail")
    page.get_by_role("button", name="Previous error").click()
    expect(page.locator(".call.here")).to_contain_text("refund")


def test_exact_text_is_what_was_recorded(page: Page, world: Any, api: httpx.Client) -> None:
    turns = api.get(f"/v1/sessions/{world.shop}/turns").json()["items"]
    page.goto(f"/sessions/{world.shop}?view=exact")
    shown = [body.text_content() for body in page.locator("article.turn > .body > pre").all()]
    assert shown == [turn["content"] for turn in turns]


def test_a_search_finds_thoughts_and_payloads(page: Page, world: Any) -> None:
    page.goto(f"/sessions/{world.shop}")
    page.keyboard.press("/")
    page.keyboard.type("ZEBRA")
    page.keyboard.press("Enter")
    expect(page.locator(".hits li")).to_have_count(1)
    expect(page.locator(".hits li")).to_contain_text("The zebra one.")
    page.wait_for_function("CSS.highlights.get('find')?.size === 1")


def test_twenty_thousand_turns_are_as_near_as_twenty(page: Page, world: Any) -> None:
    page.goto(f"/sessions/{world.long}")
    assert page.locator("article.turn").count() == 50
    page.goto(f"/sessions/{world.long}?turn=15555#turn-15555")
    expect(page.locator("#turn-15555")).to_be_in_viewport()
    expect(page.locator("#turn-15555")).to_contain_text("It is 15554.")
    # Scrolled into the middle of nowhere, what is there comes.
    page.evaluate("document.querySelector('.window[data-first=\"10000\"]').scrollIntoView()")
    expect(page.locator("#turn-10000")).to_be_visible()
    assert page.locator("article.turn").count() < 1_000
    page.goto(f"/sessions/{world.long}?find=needle")
    page.locator(".hits li a").click()
    expect(page.locator("#turn-15555")).to_be_in_viewport()


def test_scrolling_a_long_session_is_smooth(page: Page, world: Any, artefacts: Path) -> None:
    """Frames while it scrolls, and what a page costs: kept beside the screenshots, for people to compare."""
    page.goto(f"/sessions/{world.long}")
    frames = page.evaluate(
        """async () => {
          const took = [];
          let before = performance.now();
          for (let step = 0; step < 60; step += 1) {
            scrollBy(0, 400);
            await new Promise(requestAnimationFrame);
            took.push(performance.now() - before);
            before = performance.now();
          }
          return took.sort((a, b) => a - b);
        }"""
    )
    paints = {}
    for path in ("/", "/sessions", f"/sessions/{world.shop}", f"/sessions/{world.long}"):
        page.goto(path)
        painted = page.wait_for_function("() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime")
        paints[path.partition("-")[0]] = painted.json_value()
    measured = {"frame_ms_p50": frames[30], "frame_ms_p95": frames[57], "first_content_ms": paints}
    (artefacts / "measured.json").write_text(json.dumps(measured, indent=2))
    assert page.evaluate("document.querySelectorAll('.window').length") == 400


def test_the_browser_proves_it_by_itself(page: Page, world: Any, stack: Stack) -> None:
    key = next(Path(stack.layout.data_dir, "sign").glob("*.pub")).read_text().strip()
    page.goto(f"/sessions/{world.shop}/proof")
    page.get_by_label("Verifier key").fill(key)
    page.get_by_role("button", name="Recompute").click()
    expect(page.locator("#steps li").last).to_contain_text("Sound")
    expect(page.locator("#steps .no")).to_have_count(0)
    expect(page.locator("#steps")).to_contain_text("The checkpoint is signed by this key")


def test_the_browser_finds_a_changed_word(page: Page, world: Any) -> None:
    def tamper(route: Route) -> None:
        bundle = route.fetch().json()
        entry = bundle["logs"][0]["entries"][2]
        value = bytearray(b64decode(entry["value"]))
        value[-1] ^= 1
        entry["value"] = b64encode(value).decode()
        route.fulfill(json=bundle)

    page.route("**/seal", tamper)
    page.goto(f"/sessions/{world.shop}/proof")
    page.get_by_role("button", name="Recompute").click()
    expect(page.locator("#steps .no")).to_contain_text("another root")


def test_a_session_that_is_not_there(page: Page) -> None:
    answer = page.goto("/sessions/00000000-0000-4000-8000-000000000000")
    assert answer is not None
    assert answer.status == 404
    expect(page.get_by_role("main")).to_contain_text("not in the ledger, or not yours to see")
