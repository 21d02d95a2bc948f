"""What a browser loads: small, ours, and named by its contents."""

import re
from pathlib import Path

from procurator.query_api import ui
from procurator.query_api.ui.assets import Assets

BUDGET_BYTES = 150_000
_FOLDER = Path(ui.__file__).parent


def test_all_assets_together_stay_small() -> None:
    assert sum(map(len, Assets.read().files.values())) < BUDGET_BYTES


def test_nothing_is_loaded_from_elsewhere_and_nothing_is_inline() -> None:
    for path in [*(_FOLDER / "templates").iterdir(), *(_FOLDER / "static").iterdir()]:
        text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"""(src|href|url)\s*[=(]\s*["']?(https?:)?//""", text), path.name
        if path.suffix == ".html":
            assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?! type=\"module\" src=)", text), path.name
            assert "|safe" not in text, path.name


def test_a_changed_file_changes_the_address_of_all() -> None:
    files = Assets.read().files
    assert Assets({**files, "app.js": b"other"}).digest != Assets(files).digest
