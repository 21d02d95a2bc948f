"""Ledger entries of one session: as they stand, and those that a published state has not seen."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from procurator.query_api.queries.base import PageQuery, Query, Statement, within_bytes

#: Events folded at once: bounds the memory of folding a long session whose state is not yet published.
FOLD_EVENTS_MAX = 2_000
#: How far a log's broker time may go back; an event that went back further is shown with the next published state.
CLOCK_BACK_US = 3_600_000_000


@dataclass(frozen=True, kw_only=True)
class ListEntries(PageQuery):
    """Every entry of a session in ledger order, flagged ones included, with the exact bytes in base64."""

    key_type = (str, int)
    session_id: UUID

    def render(self, statement: Statement) -> str:
        span, is_session = statement.in_session(self.session_id)
        conditions = [is_session]
        if self.after is not None:
            log_id, offset = self.after
            log = statement.bind("after_log_id", "String", log_id)
            conditions.append(f"(log_id, offset) > ({log}, {statement.bind('after_offset', 'UInt64', offset)})")
        limit = statement.bind("limit", "UInt32", self.limit + 1)
        sizes = (
            "SELECT log_id, offset, ifNull(length(value), 0) AS body_bytes"
            f" FROM {statement.rows('events', *conditions)} ORDER BY log_id, offset LIMIT {limit}"
        )
        page = within_bytes(sizes, columns="log_id, offset", order="log_id, offset")
        return (
            f"{span}SELECT log_id, offset, broker_time, leaf_index, lower(hex(leaf_hash)) AS leaf_hash,\n"
            "  base64Encode(events.key) AS key, kind, flags, rejected_reason, base64Encode(events.value) AS value,\n"
            "  ifNull(length(events.value), 0) AS body_bytes\n"
            f"FROM {statement.rows('events', is_session, f'(log_id, offset) IN ({page})')}\n"
            "ORDER BY log_id, offset"
        )

    @staticmethod
    def key_of(row: Mapping[str, Any]) -> tuple[str | int, ...]:
        return row["log_id"], row["offset"]


@dataclass(frozen=True, kw_only=True)
class LaterEvents(Query):
    """Events of a session after ``after_offset`` of one log, in its order, up to `FOLD_EVENTS_MAX`.

    Without ``log_id``: from the first event of the log that has the session. Repeated ones are among them, since the
    fold counts them; rejected and misplaced ones are not. Cost and price version are as the sink wrote them.

    ``as_of_us``: broker time of the record at ``after_offset``. Later ones are looked for from `CLOCK_BACK_US` before
    it: brokers follow one another, with clocks of their own, but the days before need not be looked into.
    """

    session_id: UUID
    log_id: str | None = None
    after_offset: int = -1
    as_of_us: int = 0

    def render(self, statement: Statement) -> str:
        conditions = [
            f"session_id = {statement.bind('session_id', 'UUID', str(self.session_id))}",
            "NOT hasAny(flags, ['rejected', 'misplaced'])",
        ]
        if self.log_id is not None:
            conditions.append(f"log_id = {statement.bind('log_id', 'String', self.log_id)}")
            conditions.append(f"offset > {statement.bind('after_offset', 'Int64', self.after_offset)}")
            from_us = statement.bind("from_us", "Int64", max(0, self.as_of_us - CLOCK_BACK_US))
            conditions.append(f"broker_time >= fromUnixTimestamp64Micro({from_us}, 'UTC')")
        limit = statement.bind("limit", "UInt32", FOLD_EVENTS_MAX)
        return (
            "SELECT log_id, offset, broker_time, base64Encode(events.value) AS value, cost_usd, price_version\n"
            f"FROM {statement.rows('events', *conditions)}\n"
            f"ORDER BY log_id, offset LIMIT {limit}"
        )
