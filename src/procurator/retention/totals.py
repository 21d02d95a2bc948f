"""IO: what a purge removes in numbers, for those who must still add up: reconcile, budgets, finops.

The text goes into the signed purge; the view ``purged_spend`` shows it as rows (migration 0009). A row is of one log,
broker's day and quarter of an hour in which budgets were charged: every time zone's midnight is one's beginning.
"""

import json
from collections.abc import Sequence

from procurator.budgets.periods import SKEW_US_MAX
from procurator.clickhouse import ClickHouse
from procurator.events import TOKEN_BUCKETS
from procurator.retention.sessions import IDS_MAX, ids_text

#: In the order in which the view reads them.
KEY = ("log_id", "day", "charged_s", "org_id", "owner_team_id", "agent_id", "provider", "model", "imported")
SUMS = {
    "first_offset": "min(offset)",
    "last_offset": "max(offset)",
    "model_calls": "sum(is_call)",
    "unpriced_calls": "countIf(is_call AND cost_usd IS NULL)",
    **{bucket: f"sum({bucket})" for bucket in TOKEN_BUCKETS},
    # A correction prices tokens that had none.
    "unpriced_tokens": (
        f"sumIf({' + '.join(TOKEN_BUCKETS)}, is_call AND cost_usd IS NULL) - sum(ifNull(newly_priced_tokens, 0))"
    ),
    "cost_usd": "toString(ifNull(sum(cost_usd), toDecimal128(0, 18)))",
    "reported_cost_usd": "toString(ifNull(sum(reported_cost_usd), toDecimal128(0, 18)))",
}


def spend_totals(clickhouse: ClickHouse, session_ids: Sequence[str], entries: int) -> str:
    """Return the totals as JSON: sessions, entries, and ``spend``, lists of `KEY` and `SUMS`; money is decimal text.

    At most `IDS_MAX` sessions, which are checked UUIDs.
    """
    assert len(session_ids) <= IDS_MAX
    spend = clickhouse.rows(statement(session_ids))
    return json.dumps({"sessions": len(session_ids), "entries": entries, "spend": spend}, separators=(",", ":"))


def statement(session_ids: Sequence[str]) -> str:
    """Return the statement of the rows. A correction is charged when its call was, and has the day of its own."""
    broker_us = "toUnixTimestamp64Micro(broker_time)"
    occurred_us = "toUnixTimestamp64Micro(assumeNotNull(occurred_at))"
    charged_us = f"least(greatest({occurred_us}, {broker_us} - {SKEW_US_MAX}), {broker_us} + {SKEW_US_MAX})"
    counted = f"session_id IN ({ids_text(session_ids)}) AND empty(flags)"
    keys, sums = ", ".join(KEY), ", ".join(SUMS.values())
    return f"""
WITH calls AS (
  SELECT log_id, offset, intDiv({charged_us}, 900000000) * 900 AS charged_s
  FROM events WHERE {counted} AND kind = 'ModelCallCompleted'
)
SELECT {keys}, {sums} FROM (
  SELECT e.*, toString(toDate(e.broker_time)) AS day, e.kind = 'ModelCallCompleted' AS is_call, c.charged_s AS charged_s
  FROM (SELECT *, ifNull(corrects_offset, offset) AS of_call FROM events
        WHERE {counted} AND kind IN ('ModelCallCompleted', 'CostCorrected')) AS e
  INNER JOIN calls AS c ON c.log_id = e.log_id AND c.offset = e.of_call
)
GROUP BY {keys} ORDER BY {keys}
"""
