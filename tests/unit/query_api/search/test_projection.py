"""The projection that lists are read from has every column that a search can ask for: else it would not be used."""

import re

from procurator.access import Scope
from procurator.query_api.queries.base import Statement
from procurator.query_api.queries.sessions import ListSessions, Order, Sort
from procurator.query_api.search import parse
from procurator.query_api.search.fields import MARKS, MEASURES, NAMES
from procurator.sink.migrate import shipped


def test_every_field_is_in_the_projection_by_start() -> None:
    made, projected = (_statement(pattern) for pattern in (r"CREATE TABLE IF NOT EXISTS sessions\b", "ADD PROJECTION"))
    columns = {*re.findall(r"^    (\w+) ", made, re.MULTILINE), "newest_first"}
    names = "".join(f" {name}:" for name in NAMES if name not in ("id", "parent", "status", "origin", "initiator"))
    search = parse(
        re.sub(r"(\w+):", r"\1:x", names) + " tool:x=ERROR label:x=y parent:0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d"
    )
    measured = parse("".join(f" {name}>{'2026-11-22' if MEASURES[name].is_time else 1}" for name in MEASURES))
    chosen = parse("status:FAILED origin:API initiator:USER id:0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d")
    statement = Statement(Scope.of_teams("acme", ["payments"]))
    asked = [
        *(condition for each in (search, measured, chosen) for condition in each.candidates(statement)),
        *(mark.sql for mark in MARKS.values()),
        *(
            ListSessions(scope=statement.scope, sort=sort, order=order).render(statement)
            for sort in Sort
            for order in Order
        ),
    ]
    used = set(re.findall(r"\w+", re.sub(r"\{\w+:|'\w+'", "", " ".join(asked)))) & columns
    assert len(used) > len(NAMES)
    assert used <= set(re.findall(r"\w+", projected))


def _statement(pattern: str) -> str:
    """Return the last of these, which holds."""
    statements = [statement for migration in shipped() for statement in migration.statements]
    return [each for each in statements if re.search(pattern, each) and "sessions" in each.splitlines()[0]][-1]
