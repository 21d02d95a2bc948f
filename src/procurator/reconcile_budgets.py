"""Budget counters and statuses against a recount from the ledger: what is compared, and how a difference is told. Pure.

A counter says what was spent of a budget in one period by the records of one log from `from_offset` to `as_of_offset`.
The recount sums the ledger's typed columns over the same records, so nothing has to stand still: a counter is *pending*
while the ledger has not come to its `as_of_offset`. What was purged since counts by the signed totals of the purge; a
counter whose budget began in the middle of one of those totals is pending as well. Reserved amounts are not spent, and
are not recounted. Periods that the stream processors have forgotten, 15 days after their end, have no counters to
compare.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from procurator.avro_schemas.codec import to_decimal
from procurator.budgets import Budget, Counter, Period, total_of
from procurator.budgets.definition import AGENT, TEAM
from procurator.budgets.periods import SKEW_US_MAX
from procurator.budgets.status import in_unit
from procurator.events import TOKEN_BUCKETS
from procurator.pricing import EXACT
from procurator.reconcile import Select

_NEVER_US = 2**62
_TOKENS = " + ".join(TOKEN_BUCKETS)
_OWNER_COLUMN = {AGENT: "agent_id", TEAM: "owner_team_id"}

#: The newest entries of a log may have been purged: its head still tells where it ends.
ENDS = (
    "SELECT log_id, max(offset) FROM (SELECT log_id, offset FROM events"
    " UNION ALL SELECT log_id, toUInt64(next_offset - 1) AS offset FROM ledger_heads WHERE next_offset > 0)"
    " GROUP BY log_id"
)


class Amounts(NamedTuple):
    """What was spent, as a counter and its recount say it."""

    spent_usd: Decimal = Decimal(0)
    spent_tokens: int = 0
    unpriced_tokens: int = 0


class Recount(NamedTuple):
    """What the ledger says. ``torn``: purged totals of which only a part belongs to the counter."""

    amounts: Amounts = Amounts()
    torn: int = 0


@dataclass(frozen=True)
class BudgetDifference:
    """One field of one counter (or, with ``log_id`` None, of a status), and what the ledger (the counters) say."""

    budget_id: str
    period_start_us: int
    log_id: str | None
    field: str
    found: str
    recount: str


@dataclass
class BudgetReport:
    """What came of all budgets."""

    counters: int = 0
    pending: int = 0
    differences: list[BudgetDifference] = field(default_factory=list)


def reconcile_budgets(
    select: Select, budgets: Mapping[str, Budget], counters: Iterable[Counter], statuses: Iterable[Mapping[str, Any]]
) -> BudgetReport:
    """Compare each counter of a budget that there is with the ledger, and each status with the counters."""
    report = BudgetReport()
    ends = {str(log_id): int(str(offset)) for log_id, offset in select(ENDS, {})}
    by_period: dict[tuple[str, int], list[Counter]] = defaultdict(list)
    for counter in counters:
        if counter.key.budget_id in budgets:
            by_period[counter.key.budget_id, counter.key.period_start_us].append(counter)
    for (budget_id, start_us), group in by_period.items():
        budget = budgets[budget_id]
        ready = [counter for counter in group if ends.get(counter.key.log_id, -1) >= counter.as_of_offset]
        report.counters += len(group)
        report.pending += len(group) - len(ready)
        recounted = _recount(select, budget, budget.periods.at(start_us), ready) if ready else {}
        for counter in ready:
            found = Amounts(
                Decimal(counter.spent_attousd).scaleb(-18, EXACT), counter.spent_tokens, counter.unpriced_tokens
            )
            recount, torn = recounted.get(counter.key.log_id, Recount())
            if torn:
                report.pending += 1
                continue
            for name in Amounts._fields:
                ours, theirs = getattr(found, name), getattr(recount, name)
                if ours != theirs:
                    place = (budget_id, start_us, counter.key.log_id)
                    report.differences.append(BudgetDifference(*place, name, _text(ours), _text(theirs)))
    for status in statuses:
        _compare_status(report, budgets.get(status["budget_id"]), status, by_period)
    return report


def _compare_status(
    report: BudgetReport,
    budget: Budget | None,
    status: Mapping[str, Any],
    by_period: Mapping[tuple[str, int], list[Counter]],
) -> None:
    """Compare a status with the counters that it sums up; when they have gone on since, it is not yet wrong."""
    place = status["budget_id"], status["period_start"]
    counters = by_period.get(place, [])
    positions = {counter.key.log_id: counter.as_of_offset for counter in counters}
    if budget is None or status["session_id"] is not None or positions != status["positions"]:
        return
    shown, summed = to_decimal(status["spent"]), in_unit(budget, total_of(counters).spent(budget.unit))
    if shown != summed:
        report.differences.append(BudgetDifference(*place, None, "spent", _text(shown), _text(summed)))


def _recount(select: Select, budget: Budget, period: Period, counters: list[Counter]) -> dict[str, Recount]:
    """Return by log what the ledger says of the records that the counters have counted."""
    end_us = _NEVER_US if period.end_us is None else period.end_us
    params: dict[str, Any] = {
        "org_id": budget.org_id,
        "logs": [counter.key.log_id for counter in counters],
        "first": [counter.from_offset for counter in counters],
        "last": [counter.as_of_offset for counter in counters],
        "start_us": period.start_us,
        "end_us": end_us,
        "from_us": max(period.start_us - SKEW_US_MAX, 0),
    }
    whose = "org_id = {org_id:String}"
    if budget.scope in _OWNER_COLUMN:
        whose += f" AND {_OWNER_COLUMN[budget.scope]} = {{scope_id:String}}"
        params["scope_id"] = budget.scope_id
    rows: list[Any] = select(_statement(whose), params)
    return {
        log_id: Recount(Amounts(Decimal(usd), int(tokens), int(unpriced)), int(torn))
        for log_id, usd, tokens, unpriced, torn in rows
    }


def _text(amount: Decimal | int) -> str:
    return f"{Decimal(amount).normalize(EXACT):f}"


def _statement(whose: str) -> str:
    place = "indexOf({logs:Array(String)}, log_id)"
    counted = (
        f"counted AND NOT imported AND {whose} AND has({{logs:Array(String)}}, log_id)"
        f" AND offset >= {{first:Array(UInt64)}}[{place}] AND offset <= {{last:Array(UInt64)}}[{place}]"
        " AND broker_time >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC')"
    )
    broker_us, skew = "toUnixTimestamp64Micro(broker_time)", SKEW_US_MAX
    occurred_us = "toUnixTimestamp64Micro(assumeNotNull(occurred_at))"
    return f"""
WITH calls AS (
  SELECT log_id, offset, cost_usd, {_TOKENS} AS tokens,
    least(greatest({occurred_us}, {broker_us} - {skew}), {broker_us} + {skew}) AS charged_us
  FROM events
  WHERE kind = 'ModelCallCompleted' AND {counted}
    AND charged_us >= {{start_us:Int64}} AND charged_us < {{end_us:Int64}}
)
SELECT log_id, toString(sum(usd)), sum(tokens), sum(unpriced), sum(torn) FROM (
  SELECT log_id, ifNull(cost_usd, 0) AS usd, tokens, if(isNull(cost_usd), toInt64(tokens), 0) AS unpriced, 0 AS torn
  FROM calls
  UNION ALL
  SELECT log_id, ifNull(cost_usd, 0) AS usd, 0 AS tokens, -toInt64(ifNull(newly_priced_tokens, 0)) AS unpriced,
    0 AS torn
  FROM events
  WHERE kind = 'CostCorrected' AND {counted}
    AND (log_id, assumeNotNull(corrects_offset)) IN (SELECT log_id, offset FROM calls)
  UNION ALL
  SELECT log_id, p.cost_usd AS usd, {_TOKENS} AS tokens, p.unpriced_tokens AS unpriced,
    p.first_offset < {{first:Array(UInt64)}}[{place}] OR p.last_offset > {{last:Array(UInt64)}}[{place}] AS torn
  FROM purged_spend AS p
  WHERE NOT imported AND {whose} AND has({{logs:Array(String)}}, log_id)
    AND charged_s * 1000000 >= {{start_us:Int64}} AND charged_s * 1000000 < {{end_us:Int64}}
    AND p.last_offset >= {{first:Array(UInt64)}}[{place}] AND p.first_offset <= {{last:Array(UInt64)}}[{place}]
) GROUP BY log_id
"""
