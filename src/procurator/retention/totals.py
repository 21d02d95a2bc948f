"""IO: what a purge removes in numbers, for those who must still add up: reconcile, budgets, finops.

The text goes into the signed purge; the view ``purged_spend`` shows it as rows.
"""

import json
from collections.abc import Sequence

from procurator.clickhouse import ClickHouse
from procurator.events import TOKEN_BUCKETS
from procurator.retention.sessions import IDS_MAX, ids_text

_KEY = ("day", "org_id", "owner_team_id", "agent_id", "provider", "model")
_SUMS = ("model_calls", "unpriced_calls", *TOKEN_BUCKETS, "unpriced_tokens")
_MONEY = ("cost_usd", "reported_cost_usd")


def spend_totals(clickhouse: ClickHouse, session_ids: Sequence[str], entries: int) -> str:
    """Return the totals as JSON: sessions, entries, and spend by day, organisation, team, agent and model.

    Money is decimal text; a day is the broker's, in UTC. At most `IDS_MAX` sessions.
    """
    assert len(session_ids) <= IDS_MAX
    tokens = " + ".join(TOKEN_BUCKETS)
    call = "kind = 'ModelCallCompleted'"
    within = f"session_id IN ({ids_text(session_ids)}) AND empty(flags)"
    rows = clickhouse.rows(
        f"SELECT toString(toDate(broker_time)) AS day, {', '.join(_KEY[1:])},"
        f" countIf({call}), countIf({call} AND cost_usd IS NULL),"
        f" {', '.join(f'sum({name})' for name in TOKEN_BUCKETS)},"
        f" sumIf({tokens}, {call} AND cost_usd IS NULL),"
        f" {', '.join(f'toString(ifNull(sum({name}), toDecimal128(0, 18)))' for name in _MONEY)}"
        # A correction of a price has a cost and is no call.
        f" FROM events WHERE {within} AND ({call} OR cost_usd IS NOT NULL)"
        f" GROUP BY {', '.join(_KEY)} ORDER BY {', '.join(_KEY)}"
    )
    spend = [dict(zip((*_KEY, *_SUMS, *_MONEY), row, strict=True)) for row in rows]
    return json.dumps({"sessions": len(session_ids), "entries": entries, "spend": spend}, separators=(",", ":"))
