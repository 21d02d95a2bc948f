"""What a session asks to be approved, for the person who decides."""

from dataclasses import dataclass

from procurator.query_api.queries.base import Statement
from procurator.query_api.ui.queries.trace import OfSession


@dataclass(frozen=True, kw_only=True)
class RequestedApprovals(OfSession):
    """The newest request under each of these ids, with the tool call that waits for it.

    ``value`` is the record's bytes in base64: when the request lapses stands there alone. ``tool_name`` is empty when
    no call waits or its start was not recorded; ``call_offset`` is the place of that start in the log.
    """

    approval_ids: tuple[str, ...]

    def render(self, statement: Statement) -> str:
        is_session = self.is_session(statement)
        ids = statement.bind("approval_ids", "Array(String)", self.approval_ids)
        asked = statement.rows(
            "events", is_session, "counted", "kind = 'ApprovalRequested'", f"approval_id IN {ids}", "isNotNull(value)"
        )
        started = statement.rows("events", is_session, "counted", "kind = 'ToolCallStarted'")
        return (
            "SELECT asked.*, started.tool_name, started.call_offset FROM (\n"
            "  SELECT approval_id, log_id, tool_call_id, base64Encode(events.value) AS value\n"
            f"  FROM {asked} ORDER BY log_id, offset DESC LIMIT 1 BY approval_id\n"
            ") AS asked LEFT JOIN (\n"
            "  SELECT log_id, tool_call_id, argMax(events.tool_name, offset) AS tool_name, max(offset) AS call_offset\n"
            f"  FROM {started} GROUP BY log_id, tool_call_id\n"
            ") AS started USING (log_id, tool_call_id)"
        )
