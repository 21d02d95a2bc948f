"""Session states against a recount from the ledger: what is compared, and how a difference is told. Pure.

The recount is an aggregate over the typed columns of the ledger's counted entries, made by ClickHouse; the fold that
made the state never touched them, so the two can only agree by being right. Each session is compared at the common
point: the ledger up to ``as_of_offset``, the last record that its state has seen. Time decides what is not yet wrong:

- The ledger does not have that record yet (the sink is behind): *pending* while it is younger than the lag allowed,
  a difference after that.
- The ledger has gone on (the state is behind): compared as said; a difference in ``as_of_offset`` once a record that
  the state has not seen is older than the lag.
- A session that only one side has: a difference once older than the lag.

``select`` runs a statement with bound parameters and returns its rows. Sessions are taken in ranges of ids, so that
memory is bounded by the range, not by the ledger.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from procurator.events import TOKEN_BUCKETS

Params = Mapping[str, str | int | Sequence[str] | Sequence[int]]
Select = Callable[[str, Params], list[list[Any]]]

#: Every session's id is above this one; rejected entries stand under it and count nowhere.
NO_SESSION = "00000000-0000-0000-0000-000000000000"
#: How a session that one side lacks is told.
WHOLE_SESSION = "session"

_COMPLETED = "kind = 'ModelCallCompleted'"
_NEWLY_PRICED = "countIf(counted AND e.newly_priced_tokens IS NOT NULL)"
#: Field of the state → the same from the counted entries ``e``. Left out: status and completion, which depend on the
#: order of endings, flags, lists of names, and what has no column (dropped events, open calls).
RECOUNT = {
    "org_id": "argMinIf(e.org_id, e.offset, counted)",
    "agent_id": "argMinIf(e.agent_id, e.offset, counted)",
    "owner_team_id": "argMinIf(e.owner_team_id, e.offset, counted)",
    "started_at": "argMinIf(e.occurred_at, e.offset, counted AND kind = 'SessionStarted')",
    "last_activity_at": "maxIf(e.occurred_at, counted AND kind NOT IN ('Heartbeat', 'CostCorrected'))",
    "turns": "countIf(counted AND kind = 'TurnRecorded')",
    "tool_errors": "countIf(counted AND kind = 'ToolCallCompleted' AND status IN ('ERROR', 'TIMEOUT'))",
    **{bucket: f"sumIf(e.{bucket}, counted)" for bucket in TOKEN_BUCKETS},
    "cost_usd": "ifNull(sumIf(e.cost_usd, counted), toDecimal128(0, 18))",
    "priced_calls": f"countIf(counted AND {_COMPLETED} AND e.cost_usd IS NOT NULL) + {_NEWLY_PRICED}",
    "unpriced_calls": f"countIf(counted AND {_COMPLETED} AND e.cost_usd IS NULL) - {_NEWLY_PRICED}",
    "unpriced_tokens": (
        f"sumIf({' + '.join(f'e.{bucket}' for bucket in TOKEN_BUCKETS)},"
        f" counted AND {_COMPLETED} AND e.cost_usd IS NULL) - ifNull(sumIf(e.newly_priced_tokens, counted), 0)"
    ),
    "reported_cost_usd": "sumIf(e.reported_cost_usd, counted)",
    "events": "countIf(counted)",
    "repeated_events": "countIf(NOT counted)",
    "missing_events": (
        "arraySum(maxMapIf([e.emitter_id], [assumeNotNull(e.sequence) + 1], counted).2) - countIf(counted)"
    ),
}
#: Starts and completions of one call id in ledger order, as letters: a start opens it unless it is open, a completion
#: closes it; a completion without a start counts, and takes the next start with it. As the fold has it.
_CALLS_IN_LETTERS = (
    "countMatches(arrayStringConcat(arrayMap(x -> x.2, arraySort(groupArray((e.offset, {letter}))))), '{runs}')"
)
_RUNS_OF_ONE_CALL = "S+C?|C+S?"
FIELDS = ("as_of_offset", *RECOUNT, "tool_calls", "model_calls")


@dataclass(frozen=True)
class Policy:
    """How late a part may be before that is a difference, and how many entries are recounted at once."""

    lag_s: int = 60
    range_entries: int = 500_000


@dataclass(frozen=True)
class Difference:
    """One field of one session. A side that lacks the whole session has None, and the field is `WHOLE_SESSION`."""

    session_id: str
    field: str
    state: str | None
    ledger: str | None


@dataclass(frozen=True)
class RangeReport:
    """What came of one range of sessions."""

    sessions: int
    entries: int
    pending: int
    differences: list[Difference]


def ledger_entries(select: Select) -> int:
    """Return the number of entries in the ledger."""
    [[count]] = select("SELECT count() FROM events", {})
    return int(str(count))


def reconcile(select: Select, policy: Policy) -> Iterator[RangeReport]:
    """Compare every session and yield range by range, in the order of session ids."""
    after = NO_SESSION
    while after:
        until = _end_of_range(select, after, policy)
        yield _compare(select, after, until, policy)
        after = until


def _end_of_range(select: Select, after: str, policy: Policy) -> str:
    """Return the last session of the range that begins after ``after``; empty when it goes to the end."""
    rows = select(
        "SELECT session_id FROM events WHERE session_id > {after:UUID}"
        " ORDER BY session_id LIMIT 1 OFFSET {entries:UInt64}",
        {"after": after, "entries": policy.range_entries},
    )
    return str(rows[0][0]) if rows else ""


def _compare(select: Select, after: str, until: str, policy: Policy) -> RangeReport:
    params: dict[str, str | int] = {"after": after, "lag_s": policy.lag_s}
    within = "session_id > {after:UUID}"
    if until:
        params["until"] = until
        within += " AND session_id <= {until:UUID}"
    pending, differences = 0, []
    for session_id, entries, is_pending, state, ledger in select(comparison(within), params):
        if is_pending:
            pending += 1
        else:
            differences += _differences(str(session_id), int(str(entries)), _texts(state), _texts(ledger))
    for session_id, entries in select(unpublished(within), params):
        differences.append(Difference(str(session_id), WHOLE_SESSION, None, f"{entries} events"))
    [[sessions]] = select(f"SELECT uniqExact(session_id) FROM sessions WHERE {within}", params)
    [[entries]] = select(f"SELECT count() FROM events WHERE {within}", params)
    return RangeReport(int(str(sessions)), int(str(entries)), pending, differences)


def comparison(within: str) -> str:
    """Return the statement whose rows are the sessions in the range that differ or are pending.

    Columns: session_id, entries recounted, whether it is pending, and the texts of `FIELDS` on either side.
    """
    recount = ",\n    ".join(f"{sql} AS {name}" for name, sql in RECOUNT.items())
    state = ", ".join(f"ifNull(toString(s.{name}), 'null')" for name in FIELDS)
    # The fold remembers a bounded number of open calls; of a session beyond that it cannot know.
    ledger = ", ".join(
        [
            "toString(multiIf(ahead, r.last_offset, l.waits, l.last_offset, s.as_of_offset))",
            *(f"ifNull(toString(r.{name}), 'null')" for name in RECOUNT),
            "toString(if(has(s.flags, 'over_limit'), s.tool_calls, c.tool_calls))",
            "toString(if(has(s.flags, 'over_limit'), s.model_calls, c.model_calls))",
        ]
    )
    return f"""
WITH
  (SELECT now64(6) - toIntervalSecond({{lag_s:UInt32}})) AS due,
  states AS (SELECT * FROM sessions FINAL WHERE {within}),
  own AS (
    SELECT e.*, s.as_of_offset, empty(e.flags) AS counted
    FROM (SELECT * FROM events WHERE {within} AND NOT hasAny(flags, ['rejected', 'misplaced'])) AS e
    INNER JOIN (SELECT session_id, log_id, as_of_offset FROM states) AS s
      ON s.session_id = e.session_id AND s.log_id = e.log_id
  ),
  recount AS (
    SELECT session_id, count() AS entries, max(e.offset) AS last_offset,
    {recount}
    FROM own AS e WHERE e.offset <= e.as_of_offset GROUP BY session_id
  ),
  calls AS (
    SELECT session_id, sumIf(calls, is_tool) AS tool_calls, sumIf(calls, NOT is_tool) AS model_calls
    FROM (
      SELECT session_id, startsWith(kind, 'Tool') AS is_tool, {_call_letters()} AS calls
      FROM own AS e
      WHERE e.offset <= e.as_of_offset AND counted
        AND kind IN ('ToolCallStarted', 'ToolCallCompleted', 'ModelCallStarted', 'ModelCallCompleted')
      GROUP BY session_id, is_tool, if(is_tool, e.tool_call_id, e.model_call_id)
    ) GROUP BY session_id
  ),
  later AS (
    SELECT session_id, max(e.offset) AS last_offset, min(e.broker_time) < due AS waits
    FROM own AS e WHERE e.offset > e.as_of_offset GROUP BY session_id
  )
SELECT s.session_id, r.entries,
  ((r.entries = 0 OR r.last_offset < s.as_of_offset) AS ahead) AND s.as_of >= due AS pending,
  [{state}] AS state,
  [{ledger}] AS ledger
FROM states AS s
LEFT JOIN recount AS r ON r.session_id = s.session_id
LEFT JOIN calls AS c ON c.session_id = s.session_id
LEFT JOIN later AS l ON l.session_id = s.session_id
WHERE pending OR state != ledger
ORDER BY s.session_id
"""


def unpublished(within: str) -> str:
    """Return the statement of the sessions in the range that have entries and no state, past the lag."""
    return f"""
SELECT session_id, count() FROM events
WHERE {within} AND empty(flags) AND session_id NOT IN (SELECT session_id FROM sessions WHERE {within})
GROUP BY session_id
HAVING min(broker_time) < now64(6) - toIntervalSecond({{lag_s:UInt32}})
ORDER BY session_id
"""


def _call_letters() -> str:
    letter = "if(endsWith(kind, 'Started'), 'S', 'C')"
    return _CALLS_IN_LETTERS.format(letter=letter, runs=_RUNS_OF_ONE_CALL)


def _differences(session_id: str, entries: int, state: list[str], ledger: list[str]) -> list[Difference]:
    if not entries:
        return [Difference(session_id, WHOLE_SESSION, f"as of offset {state[0]}", None)]
    sides = zip(FIELDS, state, ledger, strict=True)
    return [Difference(session_id, name, ours, theirs) for name, ours, theirs in sides if ours != theirs]


def _texts(value: object) -> list[str]:
    assert isinstance(value, list)
    return [str(item) for item in value]
