"""Sign in with a key or a link, come back to where one was, sign out."""

import httpx
from playwright.sync_api import Browser, Page, expect

from procurator.deploy.embedded.stack import Stack


def test_a_key_signs_in_and_leads_to_where_one_was(stack: Stack, browser: Browser) -> None:
    context = browser.new_context(base_url=stack.api_url)
    page = context.new_page()
    page.goto("/sessions?q=status:FAILED")
    expect(page).to_have_url(f"{stack.api_url}/signin?next=%2Fsessions%3Fq%3Dstatus%3AFAILED")
    page.get_by_label("Key").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not known here")
    page.get_by_label("Key").fill(stack.admin_key)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{stack.api_url}/sessions?q=status:FAILED")
    [cookie] = [cookie for cookie in context.cookies() if cookie["name"].startswith("procurator_")]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
    assert stack.admin_key not in cookie["value"]
    context.close()


def test_a_link_signs_in_once(stack: Stack, browser: Browser, api: httpx.Client) -> None:
    path = api.post("/signin/links").json()["path"]
    for answer in ("Overview", "You may not do this"):
        context = browser.new_context(base_url=stack.api_url)
        page = context.new_page()
        page.goto(path)
        expect(page.get_by_role("heading", level=1)).to_have_text(answer)
        context.close()


def test_signing_out_ends_the_session_for_good(stack: Stack, browser: Browser, api: httpx.Client) -> None:
    context = browser.new_context(base_url=stack.api_url)
    page = context.new_page()
    page.goto(api.post("/signin/links").json()["path"])
    kept = context.cookies()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    context.add_cookies([{"name": each["name"], "value": each["value"], "url": stack.api_url} for each in kept])
    page.goto("/sessions")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    context.close()


def test_a_session_that_ends_while_one_reads_returns_to_the_same_place(page: Page) -> None:
    page.goto("/budgets")
    page.context.clear_cookies()
    page.get_by_role("link", name="Sessions", exact=True).click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert page.url.endswith("/signin?next=%2Fsessions")


def test_a_form_that_is_sent_too_late_leads_back_to_its_page(page: Page, stack: Stack) -> None:
    page.goto("/budgets/new")
    page.get_by_label("Name").fill("Too late")
    page.context.clear_cookies()
    page.get_by_role("button", name="Save").click()
    page.get_by_label("Key").fill(stack.admin_key)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="New budget")).to_be_visible()


def test_a_foreign_page_changes_nothing(stack: Stack, page: Page, may_fail: list[str]) -> None:
    """The cookie alone is not enough: neither a form without the token nor a script's request."""
    page.goto("/budgets")
    paths = ("/budgets", "/v1/budgets", "/signout")
    may_fail += paths
    for path in paths:
        status = page.evaluate(
            "async (path) => (await fetch(path, {method: 'POST', headers: {'content-type':"
            " 'application/x-www-form-urlencoded'}, body: 'csrf=wrong'})).status",
            path,
        )
        assert status == 403, path


def test_no_page_may_load_or_run_anything_foreign(page: Page) -> None:
    answer = page.goto("/sessions")
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert page.locator("script:not([src])").count() == 0
    assert page.locator("[style], [onclick], style").count() == 0
