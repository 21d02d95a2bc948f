"""Webhooks: made, changed, stopped, rotated and deleted from the pages."""

import re
from typing import Any

from playwright.sync_api import Page, expect

SECRET = re.compile(r"whsec_\S{30,}")


def test_a_webhook_is_made_changed_rotated_stopped_and_deleted(page: Page, world: Any) -> None:
    page.goto("/webhooks")
    page.get_by_role("link", name="New webhook").click()
    page.get_by_label("Name").fill("Watchers")
    page.get_by_label("Address").fill("ftp://siem.example")
    page.get_by_label("Organisation", exact=True).fill("shop")
    page.get_by_role("checkbox", name="Heartbeat").uncheck()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("no address to post to")
    expect(page.get_by_label("Name")).to_have_value("Watchers")
    expect(page.get_by_role("checkbox", name="Heartbeat")).not_to_be_checked()
    page.get_by_label("Address").fill("https://siem.example/procurator")
    page.get_by_label("Owner teams").fill("customer-care, payments")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".secret code")).to_have_text(SECRET)
    first = page.locator(".secret code").inner_text()
    page.get_by_role("link", name="Done").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Watchers")
    expect(page.get_by_role("main")).not_to_contain_text(first)
    expect(page.locator("#state")).to_contain_text("https://siem.example/procurator")
    expect(page.locator("#state .labels")).to_contain_text("team payments")
    expect(page.locator("#state .labels")).not_to_contain_text("Heartbeat")

    page.get_by_role("link", name="Edit").click()
    expect(page.get_by_label("Owner teams")).to_have_value("customer-care, payments")
    page.get_by_label("Name").fill("Night watch")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Night watch")

    page.get_by_role("button", name="Disable").click()
    expect(page.locator(".title .mark")).to_have_text("disabled")
    page.get_by_role("button", name="Enable").click()
    expect(page.locator(".title .mark")).to_have_text(re.compile("starting|active|failing"))

    page.get_by_role("button", name="Rotate the secret").click()
    page.get_by_role("dialog").get_by_role("button", name="Rotate").click()
    expect(page.locator(".secret code")).to_have_text(SECRET)
    assert page.locator(".secret code").inner_text() != first
    expect(page.get_by_role("main")).to_contain_text("The old secret signs as well until")
    page.get_by_role("link", name="Done").click()
    secrets = page.locator(".card", has_text="Signing secrets").locator("tbody tr")
    expect(secrets).to_have_count(2)
    expect(secrets.last).to_contain_text(re.compile("20\\d\\d-"))

    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Webhooks")
    expect(page.get_by_text("Night watch")).to_have_count(0)
