"""What an export reads beside the bundle: costs, the sessions of a snapshot, the entries of some sessions."""

from dataclasses import dataclass
from uuid import UUID

from procurator.query_api.queries.base import Query, Statement
from procurator.query_api.queries.live import Places
from procurator.query_api.queries.sessions import LIST_COLUMNS
from procurator.query_api.search import SessionFilter

#: Columns of ``events`` in a bulk export: the entry with its exact bytes, then what they say.
EVENT_COLUMNS = {
    "log_id": "log_id",
    "offset": "offset",
    "leaf_index": "leaf_index",
    "leaf_hash": "lower(hex(events.leaf_hash))",
    "broker_time": "broker_time",
    "key": "base64Encode(events.key)",
    "value": "base64Encode(events.value)",
    "event_id": "toString(events.event_id)",
    "session_id": "toString(events.session_id)",
    **{
        name: name
        for name in (
            *("flags", "emitter_id", "sequence", "occurred_at", "imported", "org_id"),
            *("agent_id", "owner_team_id", "estimated", "kind", "turn_index", "role", "content", "thinking"),
            *("tool_call_id", "model_call_id", "approval_id", "tool_name", "mcp_server_id", "provider", "model"),
            *("status", "error_message", "reason", "latency_ms", "first_token_ms", "timeout_ms", "input_tokens"),
            *("cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens", "cost_usd"),
            *("price_version", "reported_cost_usd"),
        )
    },
}


@dataclass(frozen=True, kw_only=True)
class SessionCosts(Query):
    """What the ledger charged for a session's model calls, by place; and how many entries it has of the session."""

    session_id: UUID

    def render(self, statement: Statement) -> str:
        is_session = f"session_id = {statement.bind('session_id', 'UUID', str(self.session_id))}"
        is_charge = "kind IN ('ModelCallCompleted', 'CostCorrected')"
        return (
            "SELECT log_id, offset, kind, model_call_id, cost_usd, nullIf(price_version, '') AS price_version\n"
            f"FROM {statement.rows('events', is_session, 'counted', is_charge)}\n"
            "ORDER BY log_id, offset"
        )


@dataclass(frozen=True, kw_only=True)
class SessionEntries(Query):
    """How many entries a session has in the ledger: one row of ``entries``."""

    session_id: UUID

    def render(self, statement: Statement) -> str:
        is_session = f"session_id = {statement.bind('session_id', 'UUID', str(self.session_id))}"
        return f"SELECT count() AS entries FROM {statement.rows('events', is_session)}"


@dataclass(frozen=True, kw_only=True)
class SnapshotSessions(Query):
    """The sessions that a filter finds now, as the list shows them, by id."""

    filter: SessionFilter

    def render(self, statement: Statement) -> str:
        conditions = self.filter.conditions(statement)
        rows = statement.rows("sessions FINAL", *conditions)
        return f"SELECT {', '.join(LIST_COLUMNS)}\nFROM {rows}\nORDER BY session_id"


@dataclass(frozen=True, kw_only=True)
class SnapshotHeads(Query):
    """Where the ledger of each log ends now: rows of log_id, next_offset. Asked for everywhere: logs are nobody's."""

    def render(self, statement: Statement) -> str:
        return (
            "SELECT log_id, max(offset) + 1 AS next_offset\n"
            f"FROM {statement.rows('events')}\nGROUP BY log_id ORDER BY log_id"
        )


@dataclass(frozen=True, kw_only=True)
class SnapshotEntries(Query):
    """The entries of some sessions before the snapshot's heads, by session, log and offset.

    The ids stand in the statement's text, there being too many for parameters; their type says that they are ids.
    """

    session_ids: tuple[UUID, ...]
    heads: Places

    def render(self, statement: Statement) -> str:
        ids = ", ".join(f"'{session_id}'" for session_id in self.session_ids)
        logs = statement.bind("head_logs", "Array(String)", [name for name, _ in self.heads])
        offsets = statement.bind("head_offsets", "Array(UInt64)", [offset for _, offset in self.heads])
        # ``session_id`` alone would be the column of the answer, a text, and the primary key of no use.
        pinned = f"has({logs}, log_id) AND offset < arrayElement({offsets}, indexOf({logs}, log_id))"
        columns = ", ".join(f"{sql} AS {name}" if sql != name else name for name, sql in EVENT_COLUMNS.items())
        return (
            f"SELECT {columns}\n"
            f"FROM {statement.rows('events', f'events.session_id IN ({ids})', pinned)}\n"
            "ORDER BY events.session_id, log_id, offset"
        )
