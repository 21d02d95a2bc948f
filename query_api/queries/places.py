"""Where an event stands in the ledger."""

from dataclasses import dataclass
from uuid import UUID

from procurator.query_api.queries.base import Query, Statement


@dataclass(frozen=True, kw_only=True)
class EventPlace(Query):
    """The entries with an event id, first the one that counts; two at most."""

    event_id: UUID

    def render(self, statement: Statement) -> str:
        event_id = statement.bind("event_id", "UUID", str(self.event_id))
        return (
            "SELECT log_id, offset, leaf_index, lower(hex(leaf_hash)) AS leaf_hash, broker_time,"
            " toString(session_id) AS session_id\n"
            f"FROM {statement.rows('events', f'event_id = {event_id}')}\n"
            "ORDER BY empty(flags) DESC, log_id, offset LIMIT 2"
        )
