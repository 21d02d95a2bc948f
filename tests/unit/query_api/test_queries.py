"""What the API asks ClickHouse, to the letter. The real engine answers these statements in tests/integration.

After a change that is meant: ``PROCURATOR_WRITE_GOLDEN=1 pytest`` this file, then read the diff.
"""

import os
import re
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest

from procurator import query_api
from procurator.access import Scope
from procurator.query_api.queries.audit import ListAudit
from procurator.query_api.queries.base import PageQuery, Query, Statement
from procurator.query_api.queries.budgets import BudgetHistory, OpenSessions
from procurator.query_api.queries.calls import ListModelCalls, ListToolCalls
from procurator.query_api.queries.entries import LaterEvents, ListEntries
from procurator.query_api.queries.export import (
    SessionCosts,
    SessionEntries,
    SnapshotEntries,
    SnapshotHeads,
    SnapshotSessions,
)
from procurator.query_api.queries.facets import CountByListed, CountByName, SessionTotals
from procurator.query_api.queries.live import EntriesAfter, LedgerHeads, NewestStates, StateHeads, StatesAfter
from procurator.query_api.queries.matches import Held, Hits, HowRare
from procurator.query_api.queries.sessions import (
    ListSessions,
    Order,
    PublishedState,
    SessionExists,
    ShownSessions,
    Sort,
)
from procurator.query_api.queries.spend import PurgedSpend, Spend
from procurator.query_api.queries.turns import ListTurns
from procurator.query_api.search import parse

_GOLDEN = Path(__file__).with_name("golden")
_ID = UUID("0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d")
_TEAMS = Scope.of_teams("acme", ["payments"])
_STARTED = datetime(2026, 11, 22, 16, 8, tzinfo=UTC)
_SEARCH = 'agent:a,b label:env=prod tool:get_order=ERROR cost>0.5 -is:imported word "two words" -"not these"'

_QUERIES: dict[str, Query] = {
    "list_sessions": ListSessions(scope=_TEAMS, limit=50, after=(Decimal(1795363680000000), _ID)),
    "search_sessions": ListSessions(
        scope=_TEAMS, limit=50, search=parse(_SEARCH), sort=Sort.COST, order=Order.ASC, after=(Decimal("0.5"), _ID)
    ),
    "search_rare": ListSessions(
        scope=_TEAMS, limit=50, search=parse(_SEARCH), rare=parse('word "two words" begun*').texts
    ),
    "shown_sessions": ShownSessions(
        scope=_TEAMS, listed=ListSessions(scope=_TEAMS, search=parse(_SEARCH)), session_ids=(str(_ID),), starts=(-1,)
    ),
    "shown_by_cost": ShownSessions(
        scope=_TEAMS, listed=ListSessions(scope=_TEAMS, sort=Sort.COST), session_ids=(str(_ID),), starts=(-1,)
    ),
    "how_rare": HowRare(scope=_TEAMS, texts=parse(_SEARCH).texts),
    "held": Held(scope=_TEAMS, session_ids=(str(_ID),), terms=parse(_SEARCH).of_events),
    "hits": Hits(scope=_TEAMS, session_ids=(str(_ID),), texts=parse(_SEARCH).texts, chars=20_000),
    "session_totals": SessionTotals(scope=_TEAMS, search=parse("agent:billing")),
    "count_by_name": CountByName(scope=_TEAMS, search=parse("agent:billing")),
    "count_by_listed": CountByListed(scope=_TEAMS, search=parse("agent:billing")),
    "spend_total": Spend(scope=_TEAMS),
    "spend_with_purged": Spend(
        scope=_TEAMS, search=parse("agent:billing"), groups=("owner_team", "day"), with_purged=True
    ),
    "purged_spend": PurgedSpend(scope=_TEAMS, search=parse("agent:billing cost>1")),
    "spend_by_everything": Spend(
        scope=_TEAMS, groups=("day", "user", "tool", "label:env"), search=parse("is:unpriced")
    ),
    "list_sessions_first_everywhere": ListSessions(scope=Scope.everywhere(), limit=50),
    "published_state": PublishedState(scope=_TEAMS, session_id=_ID),
    "session_exists": SessionExists(scope=_TEAMS, session_id=_ID),
    "later_events": LaterEvents(
        scope=_TEAMS, session_id=_ID, log_id="log:1", after_offset=41, as_of_us=1_790_000_000_000_000
    ),
    "all_events": LaterEvents(scope=_TEAMS, session_id=_ID),
    "list_turns": ListTurns(scope=_TEAMS, session_id=_ID, limit=50, after=(7, "log:1", 41)),
    "list_tool_calls": ListToolCalls(scope=_TEAMS, session_id=_ID, limit=50, after=("log:1", 41)),
    "list_model_calls": ListModelCalls(scope=_TEAMS, session_id=_ID, limit=50, after=("log:1", 41)),
    "list_audit": ListAudit(
        scope=Scope.of_organisation("acme"), principal="key:a", since=_STARTED, limit=50, after=(_STARTED, "log:1", 41)
    ),
    "budget_history": BudgetHistory(scope=Scope.of_organisation("acme"), budget_id=_ID),
    "open_sessions": OpenSessions(scope=_TEAMS, filter=parse("agent:billing label:case=refund cost>5")),
    "list_entries": ListEntries(scope=_TEAMS, session_id=_ID, limit=50, after=("log:1", 41)),
    "entries_after": EntriesAfter(scope=_TEAMS, session_id=_ID, places=(("log:1", 41),)),
    "states_after": StatesAfter(scope=_TEAMS, places=(("states:0", 7), ("states:1", -1))),
    "ledger_heads": LedgerHeads(scope=Scope.everywhere(), starts=(("log:0", 0), ("log:1", 42))),
    "newest_states": NewestStates(scope=_TEAMS, search=parse("agent:billing"), limit=100),
    "state_heads": StateHeads(scope=Scope.everywhere(), logs=("states:0", "states:1")),
    "session_costs": SessionCosts(scope=_TEAMS, session_id=_ID),
    "session_entries": SessionEntries(scope=_TEAMS, session_id=_ID),
    "snapshot_heads": SnapshotHeads(scope=Scope.everywhere()),
    "snapshot_sessions": SnapshotSessions(scope=_TEAMS, filter=parse("agent:billing cost>5")),
    "snapshot_entries": SnapshotEntries(scope=_TEAMS, session_ids=(_ID,), heads=(("log:0", 7), ("log:1", 42))),
}
_NAMES = pytest.mark.parametrize("name", _QUERIES)


@_NAMES
def test_statement(name: str) -> None:
    sql, parameters = _QUERIES[name].to_sql()
    text = f"{sql}\n\n" + "".join(f"-- {key} = {value!r}\n" for key, value in sorted(parameters.items()))
    path = _GOLDEN / f"{name}.sql"
    if os.environ.get("PROCURATOR_WRITE_GOLDEN"):
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8")


@_NAMES
def test_every_table_is_read_in_scope(name: str) -> None:
    sql, _ = replace(_QUERIES[name], scope=_TEAMS).to_sql()
    tables = re.findall(
        r"FROM (?:events|sessions|budget_status|audit|ledger_heads|purged_spend)(?: FINAL)? (?:PRE)?WHERE (.{35})", sql
    )
    assert len(tables) == len(re.findall(r"\b(?:FROM|JOIN) \w", sql)), "tables are only read with a scope"
    assert all(where.startswith("org_id = {scope_org_id:String} AND ") for where in tables)


@_NAMES
def test_what_is_bound_is_what_is_named(name: str) -> None:
    sql, parameters = _QUERIES[name].to_sql()
    assert set(re.findall(r"\{(\w+):", sql)) == set(parameters)
    assert not re.search("acme|billing|prod|get_order|word", sql)
    # An export names thousands of sessions, too many for parameters; their type says that they are ids.
    assert str(_ID) not in sql or name == "snapshot_entries"


def test_no_statement_names_a_table_but_through_its_scope() -> None:
    for folder in query_api.__path__:
        for path in Path(folder).rglob("*.py"):
            for table in ("events", "sessions", "audit", "budget_status", "purged_spend"):
                assert not re.search(rf"(?i)(from|join) {table}\b(?! import)", path.read_text("utf-8")), path


def test_a_name_stands_for_one_value() -> None:
    statement = Statement(Scope.everywhere())
    assert statement.bind("limit", "UInt32", 5) == statement.bind("limit", "UInt32", 5) == "{limit:UInt32}"
    with pytest.raises(ValueError, match="parameter limit is bound to two values"):
        statement.bind("limit", "UInt32", 6)


@_NAMES
def test_a_page_asks_for_one_row_more_than_it_shows(name: str) -> None:
    query = _QUERIES[name]
    if isinstance(query, PageQuery):
        assert query.to_sql()[1]["limit"] == query.limit + 1
