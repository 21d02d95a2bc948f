"""The finops views and the panels that read them, on a ledger filled by the whole pipeline, against a recount.

The recount reads the ledger's rows and adds them up in Python: no view, no aggregate of ClickHouse's is in it.
"""

import json
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from operator import itemgetter
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from procurator.clickhouse import ClickHouse
from procurator.clock import now_us
from procurator.deploy.embedded.stack import Stack
from procurator.errors import UserError
from procurator.price_source import list_prices
from procurator.pricing import PriceBook, Usage
from procurator.producers import Procurator

_DASHBOARDS = sorted((Path(__file__).parents[2] / "deploy/grafana/dashboards").glob("*.json"))
_VISIBLE_S = 60.0
_SESSIONS = 3
_LIMIT_USD = "10"
_CHANNEL_OF = {"team-0": "web", "team-1": "mail"}

#: A model call as it stands in the ledger.
Call = dict[str, Any]


@pytest.fixture(scope="module")
def org_id(stack: Stack) -> str:
    """An organisation of its own with a budget, whose sessions are in the ledger and in the state."""
    org_id = f"finops-{uuid4()}"
    _budget(stack, org_id)
    with Procurator(
        kafka_bootstrap_servers=stack.kafka, schema_registry_url=stack.registry_url, org_id=org_id
    ) as procurator:
        for number in range(_SESSIONS):
            _session(procurator, number)
    with closing(_client(stack, "admin", stack.admin_key)) as clickhouse:
        began_s = time.monotonic()
        # State and ledger come by different topics: either may be there first.
        sql = (
            "SELECT (SELECT count() FROM sessions FINAL WHERE org_id = {org:String} AND status = 'COMPLETED'),"
            " (SELECT count() FROM events WHERE org_id = {org:String} AND kind = 'SessionEnded')"
        )
        while clickhouse.rows(sql, {"org": org_id}) != [[_SESSIONS, _SESSIONS]]:
            assert time.monotonic() - began_s < _VISIBLE_S, "the sessions did not arrive"
            time.sleep(0.1)
    return org_id


def _budget(stack: Stack, org_id: str) -> None:
    definition = {
        "org_id": org_id,
        "name": "all of it",
        "scope": "ORGANISATION",
        "unit": "USD",
        "limit": _LIMIT_USD,
        "period": "MONTH",
        "time_zone": "UTC",
        "thresholds": [{"fraction": "1", "action": "NOTIFY"}],
    }
    key = {"Authorization": f"Bearer {stack.admin_key}"}
    answer = httpx.post(f"{stack.api_url}/v1/budgets", json=definition, headers=key, timeout=30, trust_env=False)
    assert answer.status_code == 201, answer.text


def _session(procurator: Procurator, number: int) -> None:
    team = f"team-{number % 2}"
    with procurator.session(
        agent=f"agent-{number}", owner_team_id=team, user="ada", labels={"channel": _CHANNEL_OF[team]}
    ) as run:
        run.turn("user", "How much was it?")
        with run.model_call("openai", "gpt-4o") as call:
            call.complete(input_tokens=1_003, cached_input_tokens=517, output_tokens=71 + number)
        with run.model_call("openai", "no-such-model") as call:
            call.complete(input_tokens=11, output_tokens=7)
        with run.model_call("anthropic", "claude-sonnet-4-5"):
            pass  # without complete: estimated
        with run.tool_call("get_invoice", {"id": number}) as tool:
            tool.complete({"usd": "39.90"})
        with pytest.raises(KeyError), run.tool_call("get_order", {"id": number}):
            raise KeyError("no such order")
        run.turn("assistant", "39.90 USD.")


def _client(stack: Stack, user: str, password: str) -> ClickHouse:
    return ClickHouse(stack.clickhouse_url, user, password, "finops" if user == "finops" else "procurator")


@pytest.fixture(scope="module")
def finops(stack: Stack) -> Iterator[ClickHouse]:
    with closing(_client(stack, "finops", stack.password("finops"))) as clickhouse:
        yield clickhouse


@pytest.fixture(scope="module")
def calls(stack: Stack, org_id: str) -> list[dict[str, Any]]:
    """Each model call of the organisation as it stands in the ledger."""
    columns = (
        *("day", "owner_team_id", "agent_id", "provider", "model", "input_tokens", "cached_input_tokens"),
        *("cache_write_tokens", "output_tokens", "reasoning_tokens", "cost_usd", "estimated"),
    )
    shown = {"day": "toString(toDateTime(toDate(broker_time)))", "cost_usd": "toString(cost_usd)"}
    sql = (
        f"SELECT {', '.join(shown.get(name, name) for name in columns)} FROM events"
        " WHERE org_id = {org:String} AND kind = 'ModelCallCompleted' AND empty(flags)"
    )
    with closing(_client(stack, "admin", stack.admin_key)) as clickhouse:
        rows = [dict(zip(columns, row, strict=True)) for row in clickhouse.rows(sql, {"org": org_id})]
    for row in rows:
        row["cost_usd"] = None if row["cost_usd"] is None else Decimal(row["cost_usd"])
    assert len(rows) == 3 * _SESSIONS
    assert sum(row["cost_usd"] is None for row in rows) == _SESSIONS
    return rows


def test_spend_is_the_sum_of_the_ledger_to_the_last_digit(
    finops: ClickHouse, org_id: str, calls: list[dict[str, Any]]
) -> None:
    expected: defaultdict[tuple[str, ...], list[Any]] = defaultdict(lambda: [0, 0, 0, Decimal(0), 0, 0])
    for call in calls:
        sums = expected[call["owner_team_id"], call["agent_id"], call["provider"], call["model"]]
        sums[0] += 1
        sums[1] += call["input_tokens"]
        sums[2] += call["cached_input_tokens"]
        sums[3] += call["cost_usd"] or 0
        sums[4] += call["cost_usd"] is None
        sums[5] += bool(call["estimated"])
    found = finops.rows(
        "SELECT owner_team_id, agent_id, provider, model, sum(model_calls), sum(input_tokens),"
        " sum(cached_input_tokens), toString(ifNull(sum(cost_usd), 0)), sum(unpriced_calls), sum(estimated_calls)"
        " FROM spend_by_day_v1 WHERE org_id = {org:String} GROUP BY ALL",
        {"org": org_id},
    )
    assert {tuple(row[:4]): [*row[4:7], Decimal(row[7]), *row[8:]] for row in found} == dict(expected)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT toString(sum(cost_usd)) FROM session_costs_v1 WHERE org_id = {org:String}",
        "SELECT toString(sum(cost_usd)) FROM spend_by_user_v1 WHERE org_id = {org:String} AND user_id = 'ada'",
        "SELECT toString(sum(cost_usd)) FROM spend_by_label_v2 WHERE org_id = {org:String} AND label = 'channel'",
        "SELECT toString(sum(cost_usd_of_sessions)) FROM spend_by_tool_v1 WHERE org_id = {org:String}"
        " AND tool_name = 'get_invoice'",
    ],
)
def test_every_way_to_cut_the_spend_has_the_same_sum(
    finops: ClickHouse, org_id: str, calls: list[dict[str, Any]], sql: str
) -> None:
    ((total,),) = finops.rows(sql, {"org": org_id})
    assert Decimal(total) == sum(call["cost_usd"] or 0 for call in calls) > 0


def test_a_budget_has_spent_what_the_calls_cost(finops: ClickHouse, org_id: str, calls: list[dict[str, Any]]) -> None:
    (status, history) = (panel.values[1] for panel in _panels() if str(panel.id).startswith("budgets: "))
    spent, began_s = sum(call["cost_usd"] or Decimal(0) for call in calls), time.monotonic()
    while True:  # statuses come by a topic of their own
        shown = [row[5:8] for row in finops.rows(_as_grafana_sends_it(status, org_id))]
        if [Decimal(str(row[1])) for row in shown] == [pytest.approx(spent, abs=Decimal("1e-12"))]:
            break
        assert time.monotonic() - began_s < _VISIBLE_S, f"{shown} is not {spent}"
        time.sleep(0.1)
    ((limit, _, reserved),) = shown
    assert (float(limit), float(reserved)) == (float(_LIMIT_USD), 0)
    shares = [Decimal(str(share)) for _, _, share in finops.rows(_as_grafana_sends_it(history, org_id))]
    assert max(shares) == pytest.approx(spent / Decimal(_LIMIT_USD), abs=Decimal("1e-12"))


def test_unpriced_usage_and_tools_are_counted(finops: ClickHouse, org_id: str) -> None:
    unpriced = finops.rows(
        "SELECT model, sum(model_calls), sum(tokens) FROM unpriced_usage_v1 WHERE org_id = {org:String} GROUP BY model",
        {"org": org_id},
    )
    assert unpriced == [["no-such-model", _SESSIONS, 18 * _SESSIONS]]
    tools = finops.rows(
        "SELECT tool_name, sum(tool_calls), sum(succeeded), sum(failed) FROM tool_usage_by_day_v1"
        " WHERE org_id = {org:String} GROUP BY tool_name ORDER BY tool_name",
        {"org": org_id},
    )
    assert tools == [["get_invoice", _SESSIONS, _SESSIONS, 0], ["get_order", _SESSIONS, 0, _SESSIONS]]


@pytest.mark.parametrize("table", ["procurator.events", "procurator.sessions", "procurator.audit", "system.tables"])
def test_the_role_sees_the_views_and_nothing_else(finops: ClickHouse, org_id: str, table: str) -> None:
    assert org_id  # the ledger is not empty
    with pytest.raises(UserError, match="ACCESS_DENIED"):
        finops.rows(f"SELECT * FROM {table} LIMIT 1")


def test_no_view_has_content(stack: Stack) -> None:
    with closing(_client(stack, "admin", stack.admin_key)) as clickhouse:
        columns = clickhouse.rows("SELECT table, name FROM system.columns WHERE database = 'finops'")
    assert {"spend_by_day_v1", "budget_status_v1"} <= {table for table, _ in columns}
    content = {"content", "thinking", "input", "output", "value", "key", "state", "error_message", "end_reason"}
    assert [column for column in columns if column[1] in content] == []


def _panels() -> list[Any]:
    found = []
    for path in _DASHBOARDS:
        for panel in json.loads(path.read_text("utf-8"))["panels"]:
            sql = panel["targets"][0].get("rawSql")
            if sql:
                found.append(pytest.param(panel["title"], sql, id=f"{path.stem}: {panel['title']}"))
    return found


@pytest.mark.parametrize(("title", "sql"), _panels())
def test_each_panel_s_query_runs_as_the_role_that_grafana_has(
    finops: ClickHouse, org_id: str, calls: list[dict[str, Any]], title: str, sql: str
) -> None:
    rows = finops.rows(_as_grafana_sends_it(sql, org_id))
    cost = sum(call["cost_usd"] or Decimal(0) for call in calls)
    figures = {
        "Spend": cost,
        "Model calls": len(calls),
        "Unpriced calls": _SESSIONS,
        "Saved by caching": _saved(calls),
        "Spend of purged sessions": 0,
        "Of it estimated": sum(call["cost_usd"] or 0 for call in calls if call["estimated"]),
    }
    if title in figures:
        ((figure,),) = rows
        assert Decimal(str(figure or 0)) == pytest.approx(figures[title], abs=Decimal("1e-12"))
    elif title in (tables := _tables(calls)):
        expected = tables[title]
        names = len(next(iter(expected)))
        found = {(*row[:names], at): Decimal(str(each or 0)) for row in rows for at, each in enumerate(row[names:])}
        recounted = {(*key, at): Decimal(each) for key, sums in expected.items() for at, each in enumerate(sums)}
        assert found == pytest.approx(recounted, abs=Decimal("1e-12"))
    elif not title.startswith(("Spent against", "History")):  # they may come later: see above
        assert rows


def _tables(calls: list[dict[str, Any]]) -> dict[str, dict[tuple[str, ...], tuple[Any, ...]]]:
    """Return what each panel of several rows shows: the names of a row, then its figures."""
    inputs = ("input_tokens", "cached_input_tokens", "cache_write_tokens")

    def sums(names: Callable[[Call], tuple[str, ...]], *figures: Callable[[Call], Any]) -> Any:
        added: dict[tuple[str, ...], tuple[Any, ...]] = {}
        for call in calls:
            before = added.get(names(call), (0,) * len(figures))
            added[names(call)] = tuple(sum_ + figure(call) for sum_, figure in zip(before, figures, strict=True))
        return added

    def usd(call: Call) -> Decimal:
        return call["cost_usd"] or Decimal(0)

    shares = sums(lambda call: (call["day"],), itemgetter(inputs[1]), lambda call: sum(call[each] for each in inputs))
    return {
        "Spend by day and team": sums(itemgetter("day", "owner_team_id"), usd),
        "Spend by agent": sums(itemgetter("agent_id", "owner_team_id"), usd, lambda _: 1),
        "Spend by model": sums(
            itemgetter("provider", "model"),
            *(usd, itemgetter(inputs[0]), itemgetter(inputs[1])),
            lambda call: call["output_tokens"] + call["reasoning_tokens"],
        ),
        "Spend by user": {("ada",): (_SESSIONS, sum(map(usd, calls)))},
        "Spend by label": sums(lambda call: ("channel", _CHANNEL_OF[call["owner_team_id"]]), usd),
        "Unpriced usage": {("openai", "no-such-model"): (_SESSIONS, 18 * _SESSIONS)},
        "Cached share of the input": {day: (Decimal(cached) / all_,) for day, (cached, all_) in shares.items()},
        "Tools by failure": {
            ("get_invoice",): (_SESSIONS, 0, 0, 0),
            ("get_order",): (_SESSIONS, _SESSIONS, 0, 1),
        },
        "Saved by caching, by model": sums(itemgetter("day", "model"), _saved_by),
    }


def _saved(calls: list[dict[str, Any]]) -> Decimal:
    saved = sum(map(_saved_by, calls), Decimal(0))
    assert saved > 0
    return saved


def _saved_by(call: Call) -> Decimal:
    """Return what a call would have cost without the cache, by the prices of the list, less what it did cost."""
    if not call["cached_input_tokens"]:
        return Decimal(0)
    fresh = Usage(call["input_tokens"] + call["cached_input_tokens"], output_tokens=call["output_tokens"])
    uncached = PriceBook.of(list_prices()).cost(fresh, call["provider"], call["model"], now_us())
    assert uncached is not None
    saved: Decimal = uncached.cost_usd - call["cost_usd"]
    return saved


def test_savings_are_known_of_every_priced_call(finops: ClickHouse, org_id: str, calls: list[dict[str, Any]]) -> None:
    ((saved, unknown),) = finops.rows(
        "SELECT toString(sum(cache_saved_usd)), sum(unknown_calls) FROM cache_savings_by_day_v1"
        " WHERE org_id = {org:String}",
        {"org": org_id},
    )
    assert (Decimal(saved), unknown) == (_saved(calls), _SESSIONS)


def _as_grafana_sends_it(sql: str, org_id: str) -> str:
    """Write out the macros and variables that Grafana's ClickHouse data source does."""
    sql = re.sub(r"\$__dateFilter\((\w+)\)", r"\1 >= '2020-01-01' AND \1 <= '2100-01-01'", sql)
    sql = re.sub(r"\$__timeFilter\((\w+)\)", r"\1 >= toDateTime(0) AND \1 <= toDateTime('2100-01-01')", sql)
    sql = sql.replace("${org:sqlstring}", f"'{org_id}'")
    assert "$" not in sql
    return sql
