"""Without a mouse, on a narrow screen, in other scripts: whoever works differently gets as far."""

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

_FOCUSED = """() => {
  const { innerText, ariaLabel, id } = document.activeElement;
  return (innerText || ariaLabel || id).replace(/\\s+/g, " ").trim();
}"""


@pytest.fixture
def hands_free(sdk: Any, running: Callable[[str], Any]) -> Any:
    """A session that runs and is in the list."""
    session = running("hands-free")
    session.turn("user", "Begin.")
    sdk.flush()
    yield session
    session.end()
    sdk.flush()


def _tab_to(page: Page, name: str, limit: int = 60) -> list[str]:
    """Press Tab until what is named so, or begins so, has the focus; return what had it on the way."""
    passed: list[str] = []
    while not passed or not f"{passed[-1]} ".startswith(f"{name} "):
        assert len(passed) < limit, f"{name} is not reached: {passed}"
        page.keyboard.press("Tab")
        passed.append(page.evaluate(_FOCUSED))
    return passed


def test_from_the_list_to_the_end_of_a_session_and_its_export(
    page: Page, hands_free: Any, sdk: Any, until: Callable[..., Any], api: httpx.Client
) -> None:
    page.goto("/sessions")
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox", name="Search sessions")).to_be_focused()
    page.keyboard.type("agent:hands-free status:RUNNING")
    page.keyboard.press("Enter")
    expect(page.locator(".chip")).to_have_count(2)
    page.wait_for_load_state()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("hands-free")
    page.wait_for_load_state()
    _tab_to(page, "Terminate Session")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Terminate this session?")
    expect(dialog.get_by_label("Reason")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert page.evaluate(_FOCUSED) == "Terminate Session", "who closes a dialog is where it was opened"
    page.keyboard.press("Enter")
    page.keyboard.type("no hands")
    assert _tab_to(page, "Terminate Session") == ["Keep it running", "Terminate Session"]
    page.keyboard.press("Enter")
    expect(page.locator("#header .badge")).to_have_text("TERMINATING")
    until(hands_free.cancelled.is_set)
    hands_free.end()
    sdk.flush()
    expect(page.locator("#header .badge")).to_have_text("TERMINATED")
    # Nothing of it can be proved before it is signed.
    until(lambda: api.get(f"/v1/sessions/{hands_free.session_id}/export").status_code == 200)
    _tab_to(page, "Export")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert '"status":"TERMINATED"' in download.value.path().read_text()


def test_what_is_live_takes_nobodys_focus(page: Page, hands_free: Any, sdk: Any) -> None:
    page.goto(f"/sessions/{hands_free.session_id}")
    page.locator("[data-live]:not([hidden])").wait_for()
    export = page.get_by_role("link", name="Export", exact=True)
    export.focus()
    hands_free.end()
    sdk.flush()
    expect(page.locator("#header .badge")).to_have_text("COMPLETED")
    expect(export).to_be_focused()
    expect(page.get_by_role("button", name="Terminate Session")).to_be_visible()
    page.locator("main").focus()
    expect(page.get_by_role("button", name="Terminate Session")).to_have_count(0)


def test_focus_goes_through_a_page_as_it_is_read(page: Page, world: Any) -> None:
    page.goto(f"/sessions/{world.shop}")
    page.keyboard.press("Tab")
    assert page.evaluate(_FOCUSED) == "Skip to the content"
    page.keyboard.press("Enter")
    order = _tab_to(page, "Show all")
    expected = ["Sessions", "Export", "Message Trace", "Tool Calls 3", "Proof", "find", "2 errors", "#0", "#1", "#4"]
    assert [name for name in order if name in expected] == expected
    visible = (
        "document.activeElement.matches(':focus-visible') && getComputedStyle(document.activeElement).outlineWidth"
    )
    assert page.evaluate(visible) == "2px"


def test_the_filters_are_set_and_left_by_keyboard(page: Page, world: Any) -> None:
    page.goto("/sessions")
    page.locator("[name=q]").focus()
    _tab_to(page, "Filter")
    page.keyboard.press("Enter")
    expect(page.get_by_label("FAILED")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_label("FAILED")).to_be_hidden()
    page.keyboard.press("Enter")
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    expect(page.locator(".chip")).to_have_count(1)


def test_a_narrow_screen_shows_every_column_without_scrolling_sideways(page: Page, world: Any) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto("/sessions?q=agent:shop-bot")
    row = page.locator(f"#s-{world.shop}")
    for cell in row.locator("td").all():
        box = cell.bounding_box()
        assert box is not None
        assert box["x"] >= 0, cell.get_attribute("class")
        assert box["width"] > 20, cell.get_attribute("class")
        assert box["x"] + box["width"] <= 360, cell.get_attribute("class")
    expect(row.locator(".turns")).to_have_text("5")
    page.locator("#sessions thead").get_by_role("link", name="Cost").click()
    expect(page).to_have_url(re.compile("sort=-cost"))
    page.locator(f"#s-{world.shop} .id a").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Shop bot")
    page.get_by_role("link", name="Proof").click()
    expect(page.get_by_role("button", name="Recompute")).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_hours_of_a_chart_can_be_reached_without_a_mouse(page: Page, world: Any) -> None:
    page.goto("/")
    chart = page.locator(".card", has=page.get_by_role("heading", name="Failed sessions by hour"))
    chart.locator("summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    hour = page.locator(":focus")
    count = int(hour.inner_text().rpartition(" ")[2])
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("completed"))
    expect(page.locator("tr[data-session]")).to_have_count(count)


def test_a_narrow_screen_lacks_neither_totals_nor_counts_nor_copying(page: Page, world: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("/sessions?q=agent:shop-bot")
    page.get_by_text("Totals and counts").click()
    expect(page.locator(".facets .totals")).to_contain_text("Sessions1")
    expect(page.locator(".facets").get_by_role("link", name="COMPLETED")).to_be_visible()
    page.locator(f"#s-{world.shop} .copy").click()
    assert page.evaluate("navigator.clipboard.readText()") == world.shop
    page.set_viewport_size({"width": 1440, "height": 900})
    expect(page.get_by_text("Totals and counts")).to_be_hidden()
    expect(page.locator(".facets .totals")).to_be_visible()


def test_text_from_right_to_left_reads_so_and_leaves_the_rest_alone(page: Page, world: Any) -> None:
    page.goto(f"/sessions/{world.foreign}")
    direction = "(element) => getComputedStyle(element).direction"
    assert page.locator("#turn-0 .body").evaluate(direction) == "rtl"
    assert page.locator("#turn-0 header").evaluate(direction) == "ltr"
    # A number in an Arabic sentence keeps its digits in order, and a name does not turn what follows it round.
    expect(page.locator("#turn-0 .body")).to_contain_text("4711")
    name, badge = page.locator("h1").bounding_box(), page.locator("#header .title .badge").bounding_box()
    assert name is not None
    assert badge is not None
    assert name["x"] < badge["x"]
    page.goto('/sessions?q=user:"משה"')
    expect(page.locator("tr[data-session]")).to_have_count(1)
    expect(page.locator(".chip bdi")).to_have_text("user:משה")
