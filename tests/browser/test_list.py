"""The list of sessions: its columns, filters, pages, keys, and that it is live."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

COLUMNS = ["Session ID", "Agent", "Status", "User", "Started", "Duration", "Turns", "Tokens", "Cost"]


def test_the_nine_columns(page: Page, world: Any) -> None:
    page.goto("/sessions?q=agent:shop-bot")
    assert [head.strip() for head in page.locator("#sessions thead th").all_inner_texts()] == COLUMNS
    row = page.locator(f"#s-{world.shop}")
    expect(row.locator(".id code")).to_have_text(world.shop[:8])
    expect(row.locator(".agent")).to_contain_text("Shop bot")
    expect(row.locator(".badge")).to_have_text("COMPLETED")
    expect(row.locator(".user")).to_contain_text("ada@example.com")
    expect(row.locator("time")).to_have_text(re.compile("just now|seconds? ago|minutes? ago"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d CES?T", row.locator("time").get_attribute("title") or "")
    expect(row.locator(".duration")).to_have_text(re.compile(r"\d+ ms|[\d.]+ s"))
    expect(row.locator(".turns")).to_have_text("5")
    expect(row.locator(".tokens")).to_have_text("2,315")
    expect(row.locator(".cost")).to_contain_text("$0.00")
    expect(row.locator(".cost .mark")).to_have_attribute("title", re.compile("1 model calls have no price"))


def test_names_lead_on_and_guesses_are_marked(page: Page, world: Any) -> None:
    page.goto("/sessions?q=agent:shop-bot,greeter")
    agent = page.locator(f"#s-{world.shop} .agent a")
    expect(agent).to_have_attribute("href", "https://agents.example/shop-bot")
    expect(agent).to_have_attribute("rel", "noreferrer")
    guess = page.locator(f"#s-{world.called} .cost abbr", has_text="≈")
    expect(guess).to_have_attribute("title", "Some values are estimates: output_tokens")
    expect(page.locator(f"#s-{world.called} .user .mark")).to_have_text("a2a")
    page.goto("/sessions?q=status:RUNNING")
    dot = page.locator(".badge.s-running i").first
    assert dot.evaluate("(dot) => getComputedStyle(dot).animationName") == "pulse"


def test_the_id_is_copied_whole(page: Page, world: Any) -> None:
    page.goto("/sessions?q=agent:shop-bot")
    page.locator(f"#s-{world.shop}").hover()
    page.locator(f"#s-{world.shop} [data-copy]").click()
    expect(page.get_by_role("status")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == world.shop


def test_filters_compose_and_stand_in_the_address(page: Page, world: Any) -> None:
    page.goto("/sessions")
    page.locator("#filters summary").click()
    page.get_by_label("FAILED").check()
    page.get_by_label("Agent", exact=True).fill("fixer")
    page.get_by_label("Started from").fill("2020-01-01")
    page.get_by_label("to", exact=True).fill("2099-12-31")
    page.get_by_role("button", name="Add these filters").click()
    expect(page.locator(".chip")).to_have_count(4)
    # Whole days of the viewer's zone, the last one included.
    expect(page.locator("[name=q]")).to_have_value(
        re.compile(
            r"agent:fixer status:FAILED started>=2019-12-31T23:00:00\.000000Z started<2099-12-31T23:00:00\.000000Z"
        )
    )
    expect(page.locator("tr[data-session]")).to_have_count(1)
    assert page.locator("tr[data-session]").get_attribute("data-session") == world.failed
    page.locator(".chip", has_text="agent:fixer").click()
    expect(page.locator(".chip")).to_have_count(3)
    expect(page.locator("tr[data-session]").nth(1)).to_be_visible()
    page.go_back()
    expect(page.locator(".chip")).to_have_count(4)


def test_the_cost_threshold_and_the_query_language(page: Page, world: Any) -> None:
    page.goto("/sessions?q=agent:shop-bot cost>0.001 tool:refund=TIMEOUT")
    expect(page.locator(f"#s-{world.shop}")).to_be_visible()
    page.goto("/sessions?q=agent:shop-bot cost>100")
    expect(page.get_by_role("heading", name="No session matches")).to_be_visible()
    expect(page.get_by_role("link", name="All sessions")).to_be_visible()


def test_words_are_found_and_shown_in_their_place(page: Page, world: Any) -> None:
    page.goto("/sessions?q=needle")
    expect(page.locator("tr[data-session]")).to_have_count(1)
    expect(page.locator("tr.hit mark")).to_have_text("needle")
    page.locator("tr.hit a").first.click()
    expect(page.locator("#turn-15555")).to_be_in_viewport()


def test_facets_count_and_narrow(page: Page, world: Any, api: httpx.Client) -> None:
    page.goto("/sessions")
    facets = page.locator(".facets")
    expect(facets.locator(".totals")).to_contain_text(re.compile(r"Sessions\s*1[0-9]{2}"))
    failed = facets.locator("section", has_text="Status").get_by_role("link", name=re.compile("FAILED"))
    count = int(failed.locator(".num").inner_text())
    failed.click()
    expect(page.locator(".chip")).to_have_text(re.compile("status:FAILED"))
    expect(page.locator("tr[data-session]")).to_have_count(count)


def test_columns_sort_both_ways(page: Page, world: Any) -> None:
    page.goto("/sessions")
    page.locator("#sessions thead").get_by_role("link", name="Tokens").click()
    expect(page.locator("#sessions thead th", has_text="Tokens")).to_have_attribute("aria-sort", "descending")
    page.wait_for_load_state()
    tokens = [int(text.replace(",", "")) for text in page.locator("td.tokens").all_inner_texts()]
    assert tokens == sorted(tokens, reverse=True)
    page.locator("#sessions thead").get_by_role("link", name="Tokens").click()
    expect(page.locator("#sessions thead th", has_text="Tokens")).to_have_attribute("aria-sort", "ascending")
    page.wait_for_load_state()
    tokens = [int(text.replace(",", "")) for text in page.locator("td.tokens").all_inner_texts()]
    assert tokens == sorted(tokens)


def test_a_search_that_cannot_be_read_says_what_would_do(page: Page) -> None:
    page.goto("/sessions?q=agent:")
    expect(page.get_by_role("alert")).to_contain_text("a value is missing at the end")
    expect(page.get_by_role("alert")).to_contain_text("For example")
    expect(page.locator("[name=q]")).to_have_value("agent:")


def test_pages_follow_one_another_and_keep_their_place(page: Page, world: Any) -> None:
    page.goto("/sessions")
    seen = [row.get_attribute("data-session") for row in page.locator("tr[data-session]").all()]
    assert len(seen) == 50
    page.get_by_role("link", name="Next page").click()
    expect(page.get_by_role("link", name="First page")).to_be_visible()
    following = [row.get_attribute("data-session") for row in page.locator("tr[data-session]").all()]
    assert len(following) == 50
    assert not set(seen) & set(following)
    page.reload()
    assert following == [row.get_attribute("data-session") for row in page.locator("tr[data-session]").all()]


def test_keys_search_and_walk(page: Page, world: Any) -> None:
    page.goto("/sessions?q=agent:shop-bot")
    page.keyboard.press("j")
    expect(page.locator("tr[aria-selected=true]")).to_have_count(1)
    page.keyboard.press("/")
    expect(page.locator("[name=q]")).to_be_focused()
    page.keyboard.press("Tab")
    page.locator("main").press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Shop bot")


def test_a_row_changes_where_it_stands_and_new_ones_wait(
    page: Page, sdk: Any, until: Callable[..., Any], api: httpx.Client
) -> None:
    session = sdk.session(agent="list-live", user="ada").start()
    sdk.flush()
    until(lambda: any(item["agent_id"] == "list-live" for item in api.get("/v1/sessions").json().get("items", [])))
    page.goto("/sessions?q=agent:list-live")
    row = page.locator(f"#s-{session.session_id}")
    expect(row.locator(".badge")).to_have_text("RUNNING")
    page.locator("[data-live]:not([hidden])").wait_for()
    place = row.bounding_box()
    session.turn("user", "one")
    session.turn("user", "two")
    sdk.flush()
    expect(row.locator(".turns")).to_have_text("2")
    other = sdk.session(agent="list-live", user="bo").start()
    sdk.flush()
    expect(page.locator("#fresh")).to_have_text("1 new session: show")
    assert page.locator("tr[data-session]").count() == 1
    moved = row.bounding_box()
    assert place is not None
    assert moved is not None
    assert (moved["x"], moved["y"]) == (place["x"], place["y"]), "rows stand where they stood"
    session.end()
    sdk.flush()
    expect(row.locator(".badge")).to_have_text("COMPLETED")
    # It was heard of from Kafka; the list is the ledger's.
    until(lambda: other.session_id in api.get("/v1/sessions?q=agent:list-live").text)
    page.locator("#fresh").click()
    expect(page.locator("tr[data-session]")).to_have_count(2)
    other.end()


@pytest.mark.parametrize(
    ("asked", "shown"),
    [("", "COMPLETED"), ("&sort=-cost", "COMPLETED"), (" status:RUNNING", "")],
    ids=["told", "looked up", "left"],
)
def test_what_happens_before_the_stream_begins_is_shown(
    page: Page, sdk: Any, running: Any, until: Callable[..., Any], api: httpx.Client, asked: str, shown: str
) -> None:
    session = running("list-race")
    held: list[Route] = []
    page.route("**/v1/stream?*", lambda route: held.append(route))
    page.goto(f"/sessions?q=agent:list-race{asked}")
    row = page.locator(f"#s-{session.session_id}")
    expect(row.locator(".badge")).to_have_text("RUNNING")
    session.end()
    sdk.flush()
    until(lambda: session.session_id in api.get("/v1/sessions?q=agent:list-race status:COMPLETED").text)
    for route in held:
        route.continue_()
    if shown:
        expect(row.locator(".badge")).to_have_text(shown)
    else:
        expect(row).to_have_class(re.compile("gone"))
    expect(row.locator("[data-since]")).to_have_count(0)


def test_an_old_session_that_comes_to_match_is_announced_on_an_empty_list(page: Page, sdk: Any, running: Any) -> None:
    session = running("list-late")
    page.clock.set_fixed_time(datetime.now(UTC) + timedelta(hours=1))
    page.goto("/sessions?q=agent:list-late status:FAILED")
    expect(page.get_by_role("heading", name="No session matches")).to_be_visible()
    page.locator("[data-live]:not([hidden])").wait_for()
    session.end("FAILED", error=RuntimeError("too late"))
    sdk.flush()
    expect(page.locator("#fresh")).to_have_text("1 new session: show")


def test_a_list_that_is_refused_for_a_while_goes_on(page: Page, world: Any, may_fail: list[str]) -> None:
    may_fail.append("/v1/stream?")
    page.route("**/v1/stream?*", lambda route: route.fulfill(status=503))
    page.goto("/sessions?q=agent:shop-bot")
    expect(page.locator("[data-live]")).to_have_text("reconnecting")
    page.unroute("**/v1/stream?*")
    expect(page.locator("[data-live]")).to_have_text("live")
    expect(page.locator("[data-live]")).to_be_visible()


def test_a_cost_that_changes_keeps_its_marks(
    page: Page, sdk: Any, running: Any, until: Callable[..., Any], api: httpx.Client
) -> None:
    session = running("list-cost")
    page.goto("/sessions?q=agent:list-cost")
    cost = page.locator(f"#s-{session.session_id} .cost")
    page.locator("[data-live]:not([hidden])").wait_for()
    with session.model_call("nobody", "unheard-of-model") as call:
        call.complete(input_tokens=10, output_tokens=5)
    sdk.flush()
    expect(cost).to_have_text("unpriced")
    with session.model_call("openai", "gpt-4o") as call:
        call.complete(input_tokens=1200, output_tokens=300, estimated=["output_tokens"])
    sdk.flush()
    expect(cost).to_have_text(re.compile(r"^≈\$0\.\d{4}\+\?$"))
    live = cost.inner_html()
    until(lambda: "gpt-4o" in api.get("/v1/sessions?q=agent:list-cost").text)
    page.reload()
    assert live == cost.inner_html(), "it is drawn as the server draws it"
    session.end()
    sdk.flush()


def test_the_same_words_on_the_server_and_in_the_browser(page: Page, world: Any) -> None:
    """format.js says of a value what formats.py says."""
    from procurator.query_api.ui import formats

    page.goto("/sessions")
    module = page.locator("script[src*='app.js']").get_attribute("src") or ""
    source = module.replace("app.js", "format.js")
    values = [0, 0.4, 1, 999, 1000, 59_940, 61_000, 3_599_000, 3_600_000, 86_400_000, 277_200_000]
    said = page.evaluate("async ([s, v]) => { const f = await import(s); return v.map(f.duration) }", [source, values])
    assert said == [formats.duration(value) for value in values]
    amounts = [None, "0", "0.00001", "0.00012", "0.5", "12.345", "1234567.891"]
    said = page.evaluate("async ([s, v]) => { const f = await import(s); return v.map(f.money) }", [source, amounts])
    assert said == [formats.money(amount) for amount in amounts]
    exact = ["0", "0.000000", "100.00", "10.50", "0.000010", "1234567.891"]
    said = page.evaluate("async ([s, v]) => { const f = await import(s); return v.map(f.exactMoney) }", [source, exact])
    assert said == [formats.exact_money(amount) for amount in exact]
