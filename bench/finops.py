"""``procurator bench finops``: how soon each finops view answers on a large ledger, as the role finops asks it.

The ledger is that of ``procurator bench query``. Each view is asked what a dashboard asks of it: its whole content
summed up by its main dimension, over all days and organisations. There is no peer.
"""

import time
from contextlib import closing
from typing import Any

from procurator.bench.query import large_ledger, percentiles
from procurator.clickhouse import ClickHouse

_REQUESTS = 20
_WARM_UP = 2
#: View → what is asked of it. A unit test knows every view that the migrations make.
QUESTIONS = {
    "spend_by_day_v1": "SELECT day, owner_team_id, sum(cost_usd) FROM spend_by_day_v1 GROUP BY ALL",
    "spend_by_day_v2": "SELECT day, owner_team_id, sum(cost_usd) FROM spend_by_day_v2 GROUP BY ALL",
    "cache_savings_by_day_v1": "SELECT day, model, sum(cache_saved_usd) FROM cache_savings_by_day_v1 GROUP BY ALL",
    "unpriced_usage_v1": "SELECT provider, model, sum(model_calls), sum(tokens) FROM unpriced_usage_v1 GROUP BY ALL",
    "tool_usage_by_day_v1": "SELECT tool_name, sum(tool_calls), sum(failed) FROM tool_usage_by_day_v1 GROUP BY ALL",
    "session_costs_v1": "SELECT session_id, agent_id, cost_usd FROM session_costs_v1 ORDER BY cost_usd DESC LIMIT 100",
    "spend_by_user_v1": "SELECT user_id, sum(cost_usd) FROM spend_by_user_v1 GROUP BY ALL",
    "spend_by_label_v2": "SELECT label, label_value, sum(cost_usd) FROM spend_by_label_v2 GROUP BY ALL",
    "spend_by_tool_v1": "SELECT tool_name, sum(cost_usd_of_sessions) FROM spend_by_tool_v1 GROUP BY ALL",
    "budget_status_v1": "SELECT budget_id, spent, budget_limit FROM budget_status_v1",
    "budget_history_v1": "SELECT budget_id, updated_at, spent FROM budget_history_v1",
    "purged_spend_by_day_v1": "SELECT day, sum(cost_usd) FROM purged_spend_by_day_v1 GROUP BY ALL",
}


def run(events: int = 10_000_000, data_dir: str = "") -> dict[str, Any]:
    """Return latencies in ms by view, and ``slowest_p95_ms``; ``latency_ms`` is over all of them."""
    with (
        large_ledger(events, data_dir) as stack,
        closing(ClickHouse(stack.clickhouse_url, "finops", stack.password("finops"), "finops")) as clickhouse,
    ):
        measured = {
            view: [_asked_ms(clickhouse, sql) for _ in range(_WARM_UP + _REQUESTS)] for view, sql in QUESTIONS.items()
        }
    warm = {view: times[_WARM_UP:] for view, times in measured.items()}
    views = {view: percentiles(times) for view, times in warm.items()}
    return {
        "latency_ms": percentiles([ms for times in warm.values() for ms in times]),
        "slowest_p95_ms": max(figures["p95"] for figures in views.values()),
        "views_ms": views,
    }


def _asked_ms(clickhouse: ClickHouse, sql: str) -> float:
    began_s = time.perf_counter()
    clickhouse.rows(sql)
    return (time.perf_counter() - began_s) * 1_000
