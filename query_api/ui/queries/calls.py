"""Where time and money of a session went: its calls, and what they cost by model and by turn."""

from dataclasses import dataclass

from procurator.events import TOKEN_BUCKETS
from procurator.query_api.queries.base import Statement
from procurator.query_api.ui.queries.markers import CALL, MODELS, TOOLS, records
from procurator.query_api.ui.queries.trace import IS_CALL, OfSession

_TOKENS = f"sum({' + '.join(f'events.{name}' for name in TOKEN_BUCKETS)})"


@dataclass(frozen=True, kw_only=True)
class Spans(OfSession):
    """Model and tool calls without bodies, from ``skip`` on, in the order of their first record."""

    limit: int
    skip: int = 0

    def render(self, statement: Statement) -> str:
        calls = records(statement, self.is_session(statement), f"{TOOLS}, {MODELS}")
        limit, skip = statement.bind("limit", "UInt32", self.limit + 1), statement.bind("skip", "UInt32", self.skip)
        return (
            "SELECT is_model, call_id,\n"
            "  minIf(events.occurred_at, endsWith(kind, 'Started')) AS began,\n"
            "  maxIf(events.occurred_at, endsWith(kind, 'Completed')) AS ended,\n"
            "  countIf(endsWith(kind, 'Started')) AS starts, countIf(endsWith(kind, 'Completed')) AS completions,\n"
            "  max(events.status) AS call_status, max(events.latency_ms) AS latency, max(events.tool_name) AS tool,\n"
            "  argMax(events.model, offset) AS model_name, sum(events.cost_usd) AS cost,\n"
            f"  {_TOKENS} AS tokens, min(events.turn_index) AS turn, any(events.error_message) AS message,\n"
            "  log_id AS log, min(events.offset) AS place\n"
            f"FROM (\n  {calls}\n) AS events\nGROUP BY {CALL}\nORDER BY log, place LIMIT {limit} OFFSET {skip}"
        )


@dataclass(frozen=True, kw_only=True)
class CostByModel(OfSession):
    """Tokens and cost by provider, model and price, the dearest first."""

    def render(self, statement: Statement) -> str:
        rows = statement.rows("events", self.is_session(statement), "counted", IS_CALL)
        buckets = ",\n  ".join(f"sum(events.{name}) AS {name}" for name in TOKEN_BUCKETS)
        return (
            f"SELECT provider, model, price_version, count() AS calls,\n  {buckets},\n"
            "  sum(events.cost_usd) AS cost, countIf(events.cost_usd IS NULL) AS unpriced_calls,\n"
            "  sum(events.reported_cost_usd) AS reported, groupUniqArrayArray(events.estimated) AS guesses\n"
            f"FROM {rows}\nGROUP BY provider, model, price_version ORDER BY cost DESC NULLS LAST, calls DESC"
        )


@dataclass(frozen=True, kw_only=True)
class CostByTurn(OfSession):
    """The dearest turns: tokens and cost of the model calls that name them."""

    limit: int = 50

    def render(self, statement: Statement) -> str:
        rows = statement.rows("events", self.is_session(statement), "counted", IS_CALL)
        limit = statement.bind("limit", "UInt32", self.limit)
        return (
            f"SELECT turn_index AS turn, count() AS calls, {_TOKENS} AS tokens,\n"
            "  sum(events.cost_usd) AS cost, countIf(events.cost_usd IS NULL) AS unpriced_calls\n"
            f"FROM {rows}\nGROUP BY turn ORDER BY cost DESC NULLS LAST, tokens DESC LIMIT {limit}"
        )
