"""Every page: it works, no reader is shut out, and it looks as it should (screenshots)."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Page, ViewportSize, expect

from procurator.deploy.embedded.stack import Stack

PAGES = {
    "overview": "/",
    "sessions": "/sessions",
    "no-sessions": "/sessions?q=agent:nobody",
    "wrong-search": "/sessions?q=agent:",
    "trace": "/sessions/{shop}",
    "failed": "/sessions/{failed}",
    "right-to-left": "/sessions/{foreign}",
    "called": "/sessions/{called}",
    "long": "/sessions/{long}?turn=15555#turn-15555",
    "tools": "/sessions/{shop}/tools",
    "timeline": "/sessions/{shop}/timeline",
    "cost": "/sessions/{shop}/cost",
    "events": "/sessions/{shop}/events",
    "proof": "/sessions/{shop}/proof",
    "budgets": "/budgets",
    "budget": "/budgets/{budget}",
    "new-budget": "/budgets/new",
    "ledger": "/ledger",
    "exports": "/exports",
    "audit": "/audit?action=budgets.read",
    "webhooks": "/webhooks",
    "webhook": "/webhooks/{hook}",
    "new-webhook": "/webhooks/new",
    "keys": "/keys",
    "not-there": "/sessions/00000000-0000-4000-8000-000000000000",
}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
WIDE, NARROW = ViewportSize(width=1440, height=900), ViewportSize(width=390, height=844)

#: What reaches beyond the window and makes it scroll, rather than a region of its own.
_TOO_WIDE = """() => {
  const right = (element) => element.getBoundingClientRect().right;
  if (document.documentElement.scrollWidth <= innerWidth + 1) return [];
  return [...document.querySelectorAll("main *")]
    .filter((element) => right(element) > innerWidth + 1 && !element.closest(".scroll"))
    .slice(0, 8).map((element) => `${element.tagName}.${element.getAttribute("class")} ${right(element)}`);
}"""

#: On a wide screen every table of ours fits its place, and every card what is in it.
_CUT_OFF = """() => [...document.querySelectorAll(".scroll, .card")]
  .filter((box) => box.scrollWidth > box.clientWidth + 1 && !box.querySelector(".audit, .waterfall"))
  .map((box) => `${box.className} ${box.ariaLabel} ${box.scrollWidth} > ${box.clientWidth}`)"""


def _where(name: str, world: Any) -> str:
    return PAGES[name].format(**vars(world))


def _serious(page: Page, options: dict[str, Any]) -> list[Any]:
    found = Axe().run(page, options={"resultTypes": ["violations"], **options}).response["violations"]
    return [
        (violation["id"], node["target"], node["failureSummary"])
        for violation in found
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"][:3]
    ]


#: What axe looks for: everything in the first theme; in the second the same document has other colours alone.
RULES: tuple[dict[str, Any], ...] = ({}, {"runOnly": ["color-contrast"]})


@pytest.mark.parametrize("name", PAGES)
def test_no_reader_is_shut_out_and_it_looks_well(page: Page, world: Any, artefacts: Path, name: str) -> None:
    """axe finds nothing serious in either theme, nothing scrolls sideways, and people can look at it."""
    page.emulate_media(reduced_motion="reduce")
    page.goto(_where(name, world))
    if page.locator(".facets").count():
        page.locator(".facets section").first.wait_for()
    for scheme, rules in zip(SCHEMES, RULES, strict=True):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.set_viewport_size(WIDE)
        assert not _serious(page, rules), scheme
        assert not page.evaluate(_CUT_OFF), "a table or a card is wider than its place"
        page.screenshot(path=artefacts / f"{name}-wide-{scheme}.png")
        page.set_viewport_size(NARROW)
        assert not page.evaluate(_TOO_WIDE), "it scrolls sideways"
        page.screenshot(path=artefacts / f"{name}-narrow-{scheme}.png")


def test_the_sign_in_page_too(stack: Stack, browser: Browser, artefacts: Path) -> None:
    context = browser.new_context(base_url=stack.api_url)
    page = context.new_page()
    page.goto("/signin")
    for scheme, rules in zip(SCHEMES, RULES, strict=True):
        page.emulate_media(color_scheme=scheme)
        assert not _serious(page, rules), scheme
        page.screenshot(path=artefacts / f"signin-{scheme}.png")
    context.close()


def test_the_overview_leads_to_the_lists_that_explain_it(page: Page, world: Any) -> None:
    page.goto("/")
    shown = page.locator(".tile", has_text="Failed, 24 h").locator("strong").inner_text()
    assert int(shown) > 0
    page.locator(".tile", has_text="Failed, 24 h").click()
    expect(page).to_have_url(re.compile("completed"))
    expect(page.locator("tr[data-session]")).to_have_count(int(shown))
    for badge in page.locator("tr[data-session] .badge").all_inner_texts():
        assert badge in ("FAILED", "TIMEOUT")
    page.goto("/")
    page.locator(".card", has_text="Top agents").locator("a").first.click()
    expect(page.locator("tr[data-session]").first).to_be_visible()


def test_a_budget_is_defined_changed_and_deleted(page: Page, world: Any) -> None:
    page.goto("/budgets")
    page.get_by_role("link", name="New budget").click()
    page.get_by_label("Name").fill("From the page")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_label("Name")).to_have_value("From the page")
    page.get_by_label("Agent, team or organisation").fill("somebody")
    page.get_by_label("Organisation", exact=True).fill("shop")
    page.get_by_label("Limit").fill("25.00")
    page.get_by_label("Period").select_option("MONTH")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("From the page")
    expect(page.locator(".spent")).to_contain_text("of $25.00")
    page.get_by_role("link", name="Edit").click()
    page.get_by_label("Limit").fill("50.00")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".spent")).to_contain_text("of $50.00")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Budgets")
    expect(page.get_by_text("From the page")).to_have_count(0)


def test_the_ledger_says_what_is_signed(page: Page, world: Any) -> None:
    page.goto("/ledger")
    expect(page.locator(".note-text")).to_contain_text(re.compile("— procurator.ledger"))
    expect(page.get_by_role("row", name=re.compile("procurator.session.events.v1")).first).to_be_visible()


def test_a_key_is_made_shown_once_and_revoked(page: Page, stack: Stack, until: Callable[..., Any]) -> None:
    page.goto("/keys")
    page.get_by_role("button", name="New key").click()
    page.get_by_label("Name").fill("from the page")
    page.get_by_label("Organisation").fill("shop")
    page.get_by_role("checkbox", name="sessions:read:all").check()
    page.get_by_role("button", name="Make the key").click()
    key = page.locator(".secret code").inner_text()
    headers = {"Authorization": f"Bearer {key}"}

    def status() -> int:
        return httpx.get(f"{stack.api_url}/v1/sessions", headers=headers, timeout=60, trust_env=False).status_code

    until(lambda: status() == 200)
    page.get_by_role("link", name="All keys").first.click()
    expect(page.get_by_text(key)).to_have_count(0)
    page.get_by_role("button", name="Revoke from the page").click()
    page.get_by_role("dialog").get_by_role("button", name="Keep it").click()
    assert status() == 200
    page.get_by_role("button", name="Revoke from the page").click()
    expect(page.get_by_role("dialog")).to_contain_text("cannot be taken back")
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("row", name=re.compile("from the page"))).to_contain_text("revoked")
    until(lambda: status() == 401)


def test_a_search_is_exported_and_downloaded(page: Page, world: Any) -> None:
    page.goto("/sessions?q=agent:shop-bot")
    page.get_by_role("link", name="Export all of these").click()
    expect(page.get_by_label("Sessions to export")).to_have_value("agent:shop-bot")
    page.get_by_role("button", name="Begin export").click()
    job = page.locator(".job").first
    expect(job.locator(".title > .mark")).to_have_text("COMPLETED", timeout=60_000)
    expect(job).to_contain_text("1 of 1 sessions")
    with page.expect_download() as download:
        job.get_by_role("link", name="manifest").click()
    assert "agent:shop-bot" in download.value.path().read_text()
    page.get_by_label("Sessions to export").fill("agent:")
    page.get_by_role("button", name="Begin export").click()
    expect(page.get_by_role("alert")).to_contain_text("a value is missing")
    page.goto("/exports")
    page.get_by_role("button", name="Remove").first.click()
    expect(page.get_by_role("heading", name="No exports yet")).to_be_visible()


def test_one_session_is_exported(page: Page, world: Any) -> None:
    page.goto(f"/sessions/{world.shop}")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export", exact=True).click()
    exported = json.loads(download.value.path().read_text())
    assert world.shop in json.dumps(exported)


def test_a_reader_sees_no_more_than_a_reader(
    stack: Stack, browser: Browser, api: httpx.Client, world: Any, until: Callable[..., Any]
) -> None:
    """Pages follow permissions and scope: another team's session is not there, nor what needs more rights."""
    body = {"name": "reader", "org_id": "shop", "permissions": ["sessions:read"], "owner_team_ids": ["other"]}
    key = api.post("/v1/keys", json=body).raise_for_status().json()["key"]
    headers = {"Authorization": f"Bearer {key}"}
    until(
        lambda: (
            httpx.get(f"{stack.api_url}/v1/sessions", headers=headers, timeout=60, trust_env=False).status_code == 200
        )
    )
    context = browser.new_context(base_url=stack.api_url)
    page = context.new_page()
    page.goto(f"/signin?next=/sessions/{world.shop}")
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("main")).to_contain_text("not in the ledger, or not yours to see")
    page.goto("/sessions")
    expect(page.get_by_role("heading", name="No sessions yet")).to_be_visible()
    assert page.locator("nav[aria-label=Pages] a").all_inner_texts() == ["Overview", "Sessions", "Budgets"]
    for path in ("/audit", "/keys", "/exports", "/budgets/new", "/ledger", "/webhooks", "/webhooks/new"):
        answer = page.goto(path)
        assert answer is not None
        assert answer.status == 403, path
    context.close()


def test_the_audit_has_who_looked(page: Page, world: Any, until: Callable[..., Any]) -> None:
    page.goto(f"/sessions/{world.failed}/cost")

    def listed() -> bool:
        page.goto(f"/audit?action=sessions.read&resource={world.failed}")
        return page.locator("tbody tr").count() > 0

    until(listed)
    expect(page.locator("tbody tr").first).to_contain_text("ALLOWED")
    page.goto("/audit?outcome=PERHAPS")
    expect(page.get_by_role("alert")).to_contain_text("outcome")


def test_times_are_the_viewers(page: Page, world: Any, api: Any) -> None:
    started = api.get(f"/v1/sessions/{world.shop}").json()["started_at"]
    page.goto(f"/sessions/{world.shop}")
    zurich = page.evaluate(
        "(t) => new Intl.DateTimeFormat('en-GB', {timeZone: 'Europe/Zurich', timeStyle: 'medium'}).format(new Date(t))",
        started,
    )
    expect(page.locator("#header .facts", has_text="Started")).to_contain_text(zurich)


def test_the_theme_is_kept(page: Page) -> None:
    page.emulate_media(color_scheme="light")
    page.goto("/sessions")
    light = page.evaluate("getComputedStyle(document.body.parentElement).backgroundColor")
    for _ in range(2):
        page.get_by_role("button", name="Theme").click()
    page.reload()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body.parentElement).backgroundColor") != light


def test_pages_can_be_read_without_a_script(stack: Stack, browser: Browser, signed_in: Any, world: Any) -> None:
    context = browser.new_context(base_url=stack.api_url, storage_state=signed_in, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"/sessions/{world.shop}")
    expect(page.locator("#turn-4 .body")).to_be_visible()
    page.goto(f"/sessions/{world.long}")
    page.get_by_role("link", name="Later turns").click()
    expect(page.locator("#turn-50")).to_be_visible()
    context.close()
