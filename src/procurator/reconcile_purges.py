"""What was purged against what is left: every leaf of a log either stands in the ledger or is in a signed purge. Pure.

The totals of purges come from their entries in the control log, and count once a purge's second entry says that its
sessions are gone. Logs with a purge that is not carried out yet are left for later.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from procurator.reconcile import Difference, Select

_PURGE_ID = "JSONExtractString(assumeNotNull(body), 'purge_id')"
_COMPLETED = "kind = 'Purge' AND body LIKE '%\"completed\":true%'"

TOTALS = f"""
SELECT count(), sum(JSONExtractUInt(totals, 'sessions')), sum(JSONExtractUInt(totals, 'entries'))
FROM (SELECT JSONExtractString(assumeNotNull(body), 'totals') AS totals FROM ledger_control WHERE {_COMPLETED})
"""
COST = "SELECT toString(sum(cost_usd)) FROM purged_spend"
LEAVES = f"""
WITH purged AS (
  SELECT leaves.1 AS log_id, max(leaves.2 + leaves.3) AS end, sum(leaves.3) AS count, sum(NOT completed) AS pending
  FROM (
    SELECT {_PURGE_ID} IN (SELECT {_PURGE_ID} FROM ledger_control WHERE {_COMPLETED}) AS completed,
      JSONExtract(assumeNotNull(body), 'ranges',
        'Array(Tuple(log_id String, first_leaf UInt64, leaf_count UInt64))') AS ranges
    FROM ledger_control WHERE kind = 'Purge'
  ) ARRAY JOIN ranges AS leaves
  GROUP BY log_id
)
SELECT e.log_id, greatest(e.end, p.end) AS leaves, e.count AS present, p.count AS purged
FROM (SELECT toString(log_id) AS log_id, max(leaf_index) + 1 AS end, count() AS count FROM events GROUP BY log_id) AS e
LEFT JOIN purged AS p ON p.log_id = e.log_id
WHERE p.pending = 0 AND leaves != present + purged
ORDER BY e.log_id
"""


@dataclass(frozen=True)
class PurgeReport:
    """Purges carried out, what went with them, and logs whose leaves do not add up (told as sessions are)."""

    purges: int
    sessions: int
    entries: int
    cost_usd: Decimal
    differences: list[Difference]


def reconcile_purges(select: Select) -> PurgeReport:
    """Add up what was purged and what is left, log by log."""
    ((purges, sessions, entries),) = _rows(select, TOTALS)
    ((cost_usd,),) = _rows(select, COST)
    differences = [
        Difference(f"log {log_id}", "leaves", str(leaves), f"{present} left and {purged} purged")
        for log_id, leaves, present, purged in _rows(select, LEAVES)
    ]
    return PurgeReport(int(purges), int(sessions), int(entries), Decimal(cost_usd or 0), differences)


def _rows(select: Select, sql: str) -> list[list[Any]]:
    return select(sql, {})
