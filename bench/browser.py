"""Chromium, headless, for who measures or tests the pages."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from procurator.errors import UserError

if TYPE_CHECKING:  # playwright comes with the development tools alone
    from playwright.sync_api import Browser

_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)


def installed() -> str | None:
    """Return where Chromium is, None where it is not."""
    return shutil.which("chromium")


@contextmanager
def chromium() -> Iterator["Browser"]:
    """Run a browser. Raises UserError where Chromium or playwright is not installed."""
    path = installed()
    if path is None:
        raise UserError("this needs Chromium: there is no `chromium` on the PATH")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise UserError("this needs playwright: pip install 'procurator-ledger[dev]'") from None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_FLAGS)
        yield browser
        browser.close()
