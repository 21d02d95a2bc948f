"""Stored scripts: in every field an agent writes, on every page that shows it, in every form it is shown in."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Dialog, Page

PATHS = [
    "/sessions",
    '/sessions?q=user:"zz"',
    "/sessions/{evil}",
    "/sessions/{evil}?view=exact",
    "/sessions/{evil}?find=pwned",
    "/sessions/{evil}/tools",
    "/sessions/{evil}/timeline",
    "/sessions/{evil}/cost",
    "/sessions/{evil}/events",
    "/sessions/{evil}/proof",
    "/",
    "/sessions/{ended}",
    "/sessions/{waiting}",
    "/sessions/{waiting}/events",
    "/sessions?q=status:PENDING_APPROVAL",
    "/budgets",
    "/budgets/{budget}",
    "/budgets/{budget}/edit",
    "/webhooks",
    "/webhooks/{hook}",
    "/webhooks/{hook}/edit",
    "/keys",
    "/ledger",
    "/audit",
]
#: Where what is hostile must stand, as text: a page that does not show it proves nothing.
SHOWN = {"/sessions/{ended}", "/sessions/{waiting}", "/budgets", "/budgets/{budget}", "/webhooks", "/keys"}


@pytest.mark.parametrize("path", PATHS)
def test_nothing_stored_runs(page: Page, hostile: dict[str, str], path: str) -> None:
    dialogs: list[str] = []

    def heard(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", heard)
    page.goto(path.format(**hostile))
    page.evaluate("for (const folded of document.querySelectorAll('details')) folded.open = true")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    assert page.evaluate("document.title") != "pwned"
    assert not dialogs
    assert page.locator("main img, main iframe, main script").count() == 0
    assert path not in SHOWN or "<script>document.title='pwned'</script>" in page.locator("main").inner_text()
    harmful = "a[href^='javascript:' i], a[href^='data:' i], a[href^='vbscript:' i]"
    assert page.locator(harmful).count() == 0


def test_a_search_that_is_a_script_stays_a_search(page: Page, world: Any) -> None:
    for evil in ("<script>document.title='pwned'</script>", '"><img src=x onerror=alert(1)>', "agent:<svg/onload=x>"):
        page.goto(f"/sessions?q={quote(evil)}")
        assert page.evaluate("document.title") != "pwned"
        assert page.locator("main img, main script").count() == 0


def test_a_live_message_that_is_a_script_stays_text(page: Page, sdk: Any, until: Callable[..., Any], api: Any) -> None:
    evil = "<img src=x onerror=\"document.title='pwned'\">"
    with sdk.session(agent="live-evil") as session:
        session.turn("user", "begin")
        sdk.flush()
        until(lambda: api.get(f"/v1/sessions/{session.session_id}").status_code == 200)
        page.goto(f"/sessions/{session.session_id}")
        page.locator("[data-live]:not([hidden])").wait_for()
        with session.turn_stream("assistant") as turn:
            turn.thinking_delta(f"thought {evil}")
            turn.delta(f"streamed {evil}")
            page.get_by_text(f"streamed {evil}").first.wait_for()
        with session.tool_call(f"tool {evil}", {}):
            sdk.flush()
            page.get_by_text(f"tool {evil}").first.wait_for()
        session.turn("assistant", evil)
        sdk.flush()
        page.get_by_text(evil, exact=True).first.wait_for()
        assert page.evaluate("document.title") != "pwned"
        assert page.locator("main img").count() == 0
