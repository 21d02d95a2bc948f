"""IO: what lies ready for one endpoint: the window where it keeps up, a chunk of the past where it does not."""

from collections.abc import Awaitable
from typing import TypeVar

from procurator.errors import Fatal, Unavailable, UserError
from procurator.forwarder.history import History
from procurator.forwarder.window import Chunk, Window
from procurator.webhooks.state import Positions

T = TypeVar("T")


class Away(Exception):
    """What has been cannot be read now: this endpoint waits, the others need not."""


class Shelf:
    """At most one chunk of the past is kept, so that an endpoint that is far behind takes little memory."""

    def __init__(self, window: Window, history: History) -> None:
        self._window = window
        self._history = history
        self._log_id = ""
        self._past: Chunk | None = None

    async def near(self, positions: Positions) -> dict[str, Chunk]:
        """Return a chunk of each log that can go on at once; one of the others is read when none is under way.

        Raises Away.
        """
        chunks, behind = self._at_hand(positions)
        if behind and (self._past is None or chunks.get(self._log_id) is not self._past):
            # Round about: the log after the one that was read last.
            self._log_id = min([log_id for log_id in behind if log_id > self._log_id] or behind)
            self._past = await unless_away(self._history.chunk(self._log_id, positions[self._log_id]))
            # Anew: while the past was read, the window has gone on, perhaps beyond a position.
            chunks, _ = self._at_hand(positions)
        return chunks

    def _at_hand(self, positions: Positions) -> tuple[dict[str, Chunk], list[str]]:
        """Return the chunks in memory that have these positions, and the logs of which none has."""
        chunks: dict[str, Chunk] = {}
        behind = []
        for log_id, position in positions.items():
            newest = self._window.chunks.get(log_id)
            if newest is None:  # a log that is no more
                continue
            if position >= newest.start:
                chunks[log_id] = newest
            elif self._past and self._log_id == log_id and self._past.start <= position < self._past.end:
                chunks[log_id] = self._past
            else:
                behind.append(log_id)
        return chunks, behind

    def clear(self) -> None:
        """Let go of the past."""
        self._past = None


async def unless_away(answer: Awaitable[T]) -> T:
    """Return what history answers; what is wrong with Kafka or ClickHouse becomes Away: no endpoint's fault."""
    try:
        return await answer
    except (Unavailable, UserError, Fatal) as error:
        raise Away(str(error)) from error
