"""Every finops view is documented and measured."""

import re
from pathlib import Path

from procurator.bench.finops import QUESTIONS
from procurator.sink.migrate import shipped

_SQL = "".join(migration.sql for migration in shipped())
VIEWS = set(re.findall(r"CREATE VIEW IF NOT EXISTS finops\.(\w+)", _SQL)) - set(
    re.findall(r"DROP VIEW .*finops\.(\w+)", _SQL)
)


def test_every_view_is_named_with_a_version() -> None:
    assert len(VIEWS) > 10
    assert [view for view in VIEWS if not re.fullmatch(r"[a-z_]+_v\d+", view)] == []


def test_every_view_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs/finops.md").read_text("utf-8")
    assert {view for view in VIEWS if f"`{view}`" not in page} == set()


def test_every_view_is_measured() -> None:
    assert QUESTIONS.keys() == VIEWS
    assert all(re.search(rf"\bFROM {view}\b", sql) for view, sql in QUESTIONS.items())
