from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from procurator.clock import to_us
from procurator.query_api.queries.base import PageQuery, Statement
from procurator.query_api.queries.sessions import LIST_COLUMNS, ListSessions
from procurator.query_api.search import SessionFilter

_EPOCH = "toDateTime64(0, 6, 'UTC')"


@dataclass(frozen=True, kw_only=True)
class FoundSessions(PageQuery):
    key_type = (datetime, UUID)
    search: SessionFilter

    def render(self, statement: Statement) -> str:
        conditions = [*self.search.conditions(statement)]
        if self.after is not None:
            started_at, session_id = self.after
            us = statement.bind("after_started_us", "Int64", to_us(started_at))
            last = statement.bind("after_session_id", "UUID", str(session_id))
            conditions.append(
                f"(ifNull(started_at, {_EPOCH}), session_id) < (fromUnixTimestamp64Micro({us}, 'UTC'), {last})"
            )
        limit = statement.bind("limit", "UInt32", self.limit + 1)
        return (
            f"SELECT {', '.join(LIST_COLUMNS)}\n"
            f"FROM {statement.rows('sessions FINAL', *conditions)}\n"
            f"ORDER BY ifNull(started_at, {_EPOCH}) DESC, session_id DESC\n"
            f"LIMIT {limit}"
        )

    @staticmethod
    def key_of(row: Mapping[str, Any]) -> tuple[str | int, ...]:
        return ListSessions.key_of(row)
