"""A session that runs: what it says appears, it can be stopped, and its end is shown."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from playwright.sync_api import Page, expect

#: Where the page stands once it moves no more.
_WHERE_IT_RESTS = """async () => {
  for (let last = -1; last !== scrollY; ) {
    last = scrollY;
    await new Promise((done) => setTimeout(done, 300));
  }
  return scrollY;
}"""


@pytest.fixture
def running(sdk: Any, api: httpx.Client, until: Callable[..., Any]) -> Any:
    """A session that has begun and not ended."""
    session = sdk.session(agent="live-bot", user="ada").start()
    session.turn("user", "Begin.")
    sdk.flush()
    until(lambda: api.get(f"/v1/sessions/{session.session_id}/turns").json().get("items"))
    yield session
    session.end()
    sdk.flush()


def _open(page: Page, session: Any) -> None:
    page.goto(f"/sessions/{session.session_id}")
    expect(page.locator("[data-live]")).to_be_visible()
    expect(page.locator("[data-live]")).to_have_text("live")


def test_turns_and_calls_appear_as_they_happen(page: Page, running: Any, sdk: Any) -> None:
    _open(page, running)
    running.turn("assistant", "I am **looking**.")
    call = running.tool_call("slow_search", {"q": "x"}, mcp_server_id="web")
    with call:
        sdk.flush()
        expect(page.get_by_text("looking").first).to_be_visible()
        marker = page.locator(".call", has_text="slow_search")
        expect(marker.locator(".mark").first).to_have_text("RUNNING")
        call.complete({"found": 1})
        sdk.flush()
        expect(page.locator(".call", has_text="slow_search").locator(".mark")).to_have_text("SUCCESS")
    # Once the ledger has it, it is rendered as everything else, and stands there once.
    expect(page.locator("#turn-1 strong", has_text="looking")).to_be_visible()
    expect(page.locator("article.draft")).to_have_count(0)
    expect(page.locator(".call", has_text="slow_search")).to_have_count(1)


def test_calls_without_a_turn_find_their_place(page: Page, running: Any, sdk: Any) -> None:
    """Calls that use one id, before the assistant has said anything: each ends as itself, and then the page rests."""
    _open(page, running)
    calls = [running.tool_call(name, tool_call_id="call_0") for name in ("first_tool", "second_tool")]
    with calls[0], calls[1]:
        sdk.flush()
        marks = page.locator(".call .mark")
        expect(marks).to_have_text(["RUNNING", "RUNNING"])
        calls[0].complete(None, status="ERROR", error_message="no such order")
        running.turn("assistant", "It failed.")
        sdk.flush()
        expect(page.locator("#turn-1")).to_be_visible()
        expect(marks).to_have_text(["ERROR", "RUNNING"])
        calls[1].complete("found")
        sdk.flush()
        expect(marks).to_have_text(["ERROR", "SUCCESS"])
    # They stand with the turn before them, and nothing is left of what streamed.
    expect(page.locator("#turn-0 .call")).to_have_count(2)
    expect(page.locator("#tail > *")).to_have_count(0)


def test_a_call_that_hangs_is_over_with_the_session(page: Page, running: Any, sdk: Any) -> None:
    _open(page, running)
    running.tool_call("hangs").__enter__()
    sdk.flush()
    expect(page.locator("#turn-0 .call .mark")).to_have_text("RUNNING")
    running.end()
    sdk.flush()
    expect(page.locator("#turn-0 .call .mark")).to_have_text("NEVER COMPLETED")
    expect(page.locator("#tail > *")).to_have_count(0)


def test_each_turn_finds_its_window(page: Page, running: Any, sdk: Any) -> None:
    """Turns of two windows come at once: each stands once, rendered, in the window that it belongs to."""
    _open(page, running)
    for index in range(1, 53):
        running.turn("assistant", f"Turn **{index}**.")
    sdk.flush()
    expect(page.locator("article.draft")).to_have_count(0)
    expect(page.locator("article.turn")).to_have_count(53)
    expect(page.locator('.window[data-first="0"] #turn-49 strong', has_text="49")).to_be_attached()
    expect(page.locator('.window[data-first="50"] #turn-50 strong', has_text="50")).to_be_attached()


def test_a_turn_is_read_while_it_is_written(page: Page, running: Any, sdk: Any) -> None:
    _open(page, running)
    with running.turn_stream("assistant") as turn:
        turn.thinking_delta("Hm, let me see. ")
        turn.delta("Let me ")
        expect(page.locator("article.draft")).to_contain_text("Let me")
        expect(page.locator("article.draft .thinking")).to_contain_text("Hm, let me see.")
        turn.delta("**explain**.")
        expect(page.locator("article.draft")).to_contain_text("Let me **explain**.")
    sdk.flush()
    expect(page.locator("#turn-1 strong", has_text="explain")).to_be_visible()
    expect(page.locator("article.draft")).to_have_count(0)


def test_it_follows_the_end_unless_one_reads(page: Page, running: Any, sdk: Any) -> None:
    _open(page, running)
    for index in range(12):
        running.turn("assistant", f"Step {index}.\n\n" + "word " * 120)
    sdk.flush()
    expect(page.get_by_text("Step 11.").first).to_be_in_viewport()
    expect(page.locator("#turn-12")).to_be_attached()
    expect(page.locator("article.draft")).to_have_count(0)
    page.mouse.move(700, 500)
    page.mouse.wheel(0, -2_000)
    expect(page.get_by_role("button", name="Follow the end")).to_be_visible()
    where = page.evaluate(_WHERE_IT_RESTS)
    running.turn("assistant", "Step 12, which nobody asked for.")
    sdk.flush()
    expect(page.get_by_text("Step 12, which nobody asked for.").first).to_be_attached()
    assert abs(page.evaluate("scrollY") - where) < 50
    page.get_by_role("button", name="Follow the end").click()
    expect(page.get_by_text("Step 12, which nobody asked for.").first).to_be_in_viewport()


def test_terminating_asks_says_and_shows(page: Page, running: Any, sdk: Any, until: Callable[..., Any]) -> None:
    _open(page, running)
    page.get_by_role("button", name="Terminate Session").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("cannot be taken back")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.get_by_role("button", name="Terminate Session").click()
    dialog.get_by_label("Reason").fill("it loops")
    dialog.get_by_role("button", name="Terminate Session").click()
    expect(page.locator("#header .badge")).to_have_text("TERMINATING")
    page.goto(f"/sessions?q=id:{running.session_id}")
    expect(page.locator("#sessions .badge")).to_have_text("TERMINATING")
    page.go_back()
    until(running.cancelled.is_set)
    running.end()  # as the signal says
    sdk.flush()
    expect(page.locator("#header .badge")).to_have_text("TERMINATED")
    expect(page.locator("#header")).to_contain_text("it loops")
    expect(page.get_by_role("button", name="Terminate Session")).to_have_count(0)


def test_a_pending_approval_is_decided_from_the_page(
    page: Page, running: Any, sdk: Any, until: Callable[..., Any], api: httpx.Client
) -> None:
    with running.tool_call("refund", {"usd": 900}) as call:
        running.request_approval("refund 900 USD to FB-1", tool_call_id=call.id)
        sdk.flush()
        until(lambda: "ApprovalRequested" in api.get(f"/v1/sessions/{running.session_id}/events").text)
        _open(page, running)
        asked = page.locator(".approval")
        expect(asked).to_contain_text("refund 900 USD to FB-1")
        expect(asked).to_contain_text("never by itself")
        expect(asked.get_by_role("link", name="refund")).to_have_attribute("href", re.compile("/tools[?]at="))
        expect(page.locator("#header .badge")).to_have_text("PENDING APPROVAL")
        page.get_by_role("button", name="Approve").click()
        expect(page.locator("#header .badge")).to_have_text("RUNNING")
        expect(asked).to_have_count(0)


def test_a_pending_approval_is_denied_from_the_page(
    page: Page, running: Any, sdk: Any, until: Callable[..., Any], api: httpx.Client
) -> None:
    expires_at = datetime.now(UTC) + timedelta(hours=1)
    approval_id = running.request_approval("delete the customer", expires_at=expires_at)
    sdk.flush()
    until(lambda: "ApprovalRequested" in api.get(f"/v1/sessions/{running.session_id}/events").text)
    _open(page, running)
    expect(page.locator(".approval")).to_contain_text("delete the customer")
    expect(page.locator(".approval")).to_contain_text(f"{expires_at.astimezone(ZoneInfo('Europe/Zurich')):%H:%M:%S}")
    page.get_by_role("button", name="Deny").click()
    expect(page.locator("#header .badge")).to_have_text("RUNNING")
    assert running.wait_for_approval(approval_id, timeout_s=60).decision == "DENIED"


def test_the_end_is_shown(page: Page, running: Any, sdk: Any) -> None:
    _open(page, running)
    running.turn("assistant", "Done.")
    running.end()
    sdk.flush()
    expect(page.locator("#header .badge")).to_have_text("COMPLETED")
    expect(page.locator("[data-live]")).to_be_hidden()
    expect(page.locator("#turn-1")).to_contain_text("Done.")


def test_it_goes_on_after_a_lost_connection(page: Page, running: Any, sdk: Any, may_fail: list[str]) -> None:
    _open(page, running)
    may_fail += ("/v1/sessions/", "/sessions/")
    page.context.set_offline(True)
    running.turn("assistant", "Said in the dark.")
    sdk.flush()
    page.context.set_offline(False)
    expect(page.get_by_text("Said in the dark.").first).to_be_visible(timeout=30_000)


def test_a_running_session_is_opened_at_its_end(
    page: Page, running: Any, sdk: Any, api: httpx.Client, until: Callable[..., Any]
) -> None:
    for index in range(60):  # more than a window
        running.turn("assistant", f"Step {index}.\n\n" + "word " * 120)
    sdk.flush()
    until(lambda: "Step 59." in api.get(f"/sessions/{running.session_id}/turns?first=50").text)
    _open(page, running)
    expect(page.get_by_text("Step 59.").first).to_be_in_viewport()
    running.turn("assistant", "Step 60.")
    sdk.flush()
    expect(page.get_by_text("Step 60.").first).to_be_in_viewport()
    page.goto(f"/sessions/{running.session_id}?turn=3#turn-3")
    expect(page.locator("#turn-3")).to_be_in_viewport()


def test_a_piece_that_is_told_again_stands_once(page: Page, running: Any) -> None:
    """A stream that goes on after a break begins with the recent pieces."""
    _open(page, running)
    source = (page.locator("script[src*='session.js']").get_attribute("src") or "").replace("session.js", "drafts.js")
    pieces = [
        {"turn_index": 1, "delta_index": index, "kind": kind, "text": text}
        for index, kind, text in ((0, "THINKING", "Hm. "), (1, "CONTENT", "Let me "), (2, "CONTENT", "look."))
    ]
    tell = "async ([source, pieces]) => { const { onDelta } = await import(source); pieces.forEach(onDelta) }"
    page.evaluate(tell, [source, pieces[:2]])
    page.evaluate(tell, [source, pieces])
    expect(page.locator("article.draft .thinking pre")).to_have_text("Hm. ")
    expect(page.locator("article.draft .body pre")).to_have_text("Let me look.")


def test_what_fails_while_one_watches_is_reached(page: Page, running: Any, sdk: Any) -> None:
    _open(page, running)
    running.turn("assistant", "I try.")
    for name in ("first", "second"):
        with running.tool_call(name, {}) as call:
            call.complete(None, status="ERROR", error_message=f"the {name} is broken")
        sdk.flush()
        expect(page.locator("[data-error-link]", has_text=name)).to_have_count(1)
    expect(page.locator("#errors summary")).to_have_text("2 errors")
    page.keyboard.press("n")
    expect(page.get_by_role("status")).to_contain_text("Error 1 of 2")


def test_who_is_signed_out_is_told_and_returns_here(page: Page, running: Any, may_fail: list[str]) -> None:
    may_fail.append("/v1/sessions/")
    page.route("**/stream?*", lambda route: route.fulfill(status=401))
    page.goto(f"/sessions/{running.session_id}?view=exact")
    expect(page.get_by_role("alert")).to_contain_text("You are signed out")
    way = page.get_by_role("link", name="Sign in again").get_attribute("href")
    assert way == f"/signin?next=%2Fsessions%2F{running.session_id}%3Fview%3Dexact"
    expect(page.locator("[data-live]")).to_have_text("signed out")
