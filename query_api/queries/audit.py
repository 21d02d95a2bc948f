"""The audit: who was shown, refused or changed what."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from procurator.clock import to_us
from procurator.query_api.queries.base import PageQuery, Statement

AUDIT_COLUMNS = (
    *("log_id", "offset", "broker_time", "event_id", "emitter_id", "sequence", "occurred_at", "org_id", "principal"),
    *("action", "outcome", "resource", "owner_team_id", "purpose", "filter", "item_count", "request_id"),
    *("remote_address", "details"),
)


@dataclass(frozen=True, kw_only=True)
class ListAudit(PageQuery):
    """Audit events, newest first by the broker's time; ``since`` belongs to the span, ``until`` does not."""

    key_type = (datetime, str, int)
    principal: str | None = None
    action: str | None = None
    outcome: str | None = None
    resource: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def render(self, statement: Statement) -> str:
        conditions = ["empty(flags)"]
        for column in ("principal", "action", "outcome", "resource"):
            value = getattr(self, column)
            if value is not None:
                conditions.append(f"{column} = {statement.bind(column, 'String', value)}")
        for name, comparison in (("since", ">="), ("until", "<")):
            moment = getattr(self, name)
            if moment is not None:
                conditions.append(f"broker_time {comparison} {_time(statement, f'{name}_us', moment)}")
        if self.after is not None:
            moment, log_id, offset = self.after
            last = _time(statement, "after_us", moment)
            log = statement.bind("after_log_id", "String", log_id)
            place = f"{last}, {log}, {statement.bind('after_offset', 'UInt64', offset)}"
            # The first condition follows from the second, and lets days be passed over.
            conditions += [f"broker_time <= {last}", f"(broker_time, log_id, offset) < ({place})"]
        limit = statement.bind("limit", "UInt32", self.limit + 1)
        return (
            f"SELECT {', '.join(AUDIT_COLUMNS)}\n"
            f"FROM {statement.rows('audit', *conditions)}\n"
            f"ORDER BY broker_time DESC, log_id DESC, offset DESC\nLIMIT {limit}"
        )

    @staticmethod
    def key_of(row: Mapping[str, Any]) -> tuple[str | int, ...]:
        return row["broker_time"], row["log_id"], row["offset"]


def _time(statement: Statement, name: str, moment: datetime) -> str:
    return f"fromUnixTimestamp64Micro({statement.bind(name, 'Int64', to_us(moment))}, 'UTC')"
