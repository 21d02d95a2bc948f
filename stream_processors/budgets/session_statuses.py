"""Statuses of single sessions as they stand in their topic, from which they go when a session is over. Pure.

A budget of scope SESSION has as many of them as its agent has sessions that cross a threshold: the topic, which is
compacted, would grow for ever. What they were stays in ClickHouse.
"""

from collections.abc import Callable
from typing import NamedTuple

from procurator.avro_schemas.codec import Record

#: Longer than whoever keeps the history is expected to be away.
KEPT_US = 86_400_000_000


class Shown(NamedTuple):
    """A status in the topic: of which budget and session, and when it changed last."""

    budget_id: str
    session_id: str
    updated_at_us: int


class SessionStatuses:
    """What the topic shows of single sessions, by key."""

    def __init__(self) -> None:
        self._shown: dict[bytes, Shown] = {}

    def heard(self, key: bytes, record: Record | None) -> None:
        """Take a record of the topic of statuses; None is a status that is no more."""
        if record is None:
            self._shown.pop(key, None)
        elif record["session_id"] is not None:
            self._shown[key] = Shown(record["budget_id"], record["session_id"], record["updated_at"])

    def over(self, now_us: int, is_deleted: Callable[[str], bool], is_over: Callable[[str], bool]) -> list[bytes]:
        """Return the keys to take out of the topic: the budget is deleted, or the session over and all a day old."""
        return [
            key
            for key, shown in self._shown.items()
            if is_deleted(shown.budget_id) or (shown.updated_at_us + KEPT_US < now_us and is_over(shown.session_id))
        ]
