"""What the overview counts: over the sessions as published, and over the events since some moment."""

from dataclasses import dataclass
from datetime import datetime

from procurator.clock import to_us
from procurator.query_api.queries.base import Query, Statement
from procurator.query_api.search.fields import MARKS

TOP = 8


@dataclass(frozen=True, kw_only=True)
class OpenNow(Query):
    """One row: how many sessions run, wait for an approval, are stalled."""

    def render(self, statement: Statement) -> str:
        is_open = MARKS["open"].sql
        # FINAL over those alone of which some version was open, not over every session there is.
        some = f"session_id IN (SELECT session_id FROM {statement.rows('sessions', is_open)})"
        rows = statement.rows("sessions FINAL", is_open, some)
        return (
            "SELECT countIf(status = 'RUNNING') AS running, countIf(status = 'PENDING_APPROVAL') AS pending,\n"
            f"  countIf({MARKS['stalled'].sql}) AS stalled\nFROM {rows}"
        )


@dataclass(frozen=True, kw_only=True)
class _Since(Query):
    #: Nothing occurs after the broker has it, so partitions before this moment are not read.
    since: datetime

    def events(self, statement: Statement, *conditions: str) -> str:
        since = statement.bind("since_us", "Int64", to_us(self.since))
        after = f"broker_time >= fromUnixTimestamp64Micro({since}, 'UTC')"
        occurred = f"occurred_at >= fromUnixTimestamp64Micro({since}, 'UTC')"
        return statement.rows("events", "counted", after, occurred, *conditions)


@dataclass(frozen=True, kw_only=True)
class ByHour(_Since):
    """Per hour: cost, sessions started, and what failed, when it occurred."""

    def render(self, statement: Statement) -> str:
        kinds = "kind IN ('SessionStarted', 'SessionEnded', 'ModelCallCompleted', 'ToolCallCompleted')"
        return (
            "SELECT toUnixTimestamp(toStartOfHour(assumeNotNull(occurred_at))) AS hour_s, sum(cost_usd) AS cost,\n"
            "  countIf(kind = 'SessionStarted') AS started,\n"
            "  countIf(kind = 'SessionEnded' AND status IN ('FAILED', 'TIMEOUT')) AS failed,\n"
            "  countIf(kind = 'ToolCallCompleted' AND status IN ('ERROR', 'TIMEOUT')) AS tool_errors,\n"
            "  countIf(kind = 'ModelCallCompleted' AND isNull(cost_usd)) AS unpriced\n"
            f"FROM {self.events(statement, kinds)}\nGROUP BY hour_s ORDER BY hour_s"
        )


@dataclass(frozen=True, kw_only=True)
class TopAgents(_Since):
    """The agents that cost most."""

    def render(self, statement: Statement) -> str:
        rows = self.events(statement, "kind = 'ModelCallCompleted'")
        return (
            "SELECT agent_id, owner_team_id, sum(cost_usd) AS cost, uniqExact(session_id) AS sessions,\n"
            "  countIf(isNull(cost_usd)) AS unpriced\n"
            f"FROM {rows}\nGROUP BY agent_id, owner_team_id ORDER BY cost DESC NULLS LAST, sessions DESC LIMIT {TOP}"
        )


@dataclass(frozen=True, kw_only=True)
class ToolFailures(_Since):
    """The tools that failed most often."""

    def render(self, statement: Statement) -> str:
        rows = self.events(statement, "kind = 'ToolCallCompleted'")
        return (
            "SELECT tool_name, count() AS calls, countIf(status IN ('ERROR', 'TIMEOUT')) AS failed,\n"
            "  quantile(0.95)(latency_ms) AS p95_ms\n"
            f"FROM {rows}\nGROUP BY tool_name HAVING failed > 0 ORDER BY failed DESC, calls DESC LIMIT {TOP}"
        )
