"""IO: what a stream asks of the tables."""

from collections.abc import Iterable
from uuid import UUID

from procurator.access import Scope
from procurator.query_api.live.follow import Offsets, Position
from procurator.query_api.queries.base import Query, Row
from procurator.query_api.queries.live import (
    EntriesAfter,
    LedgerHeads,
    NewestStates,
    StateHeads,
    StatesAfter,
    is_full,
)
from procurator.query_api.search import SessionFilter
from procurator.query_api.store import Store

#: Heads are of logs, which are nobody's; what stands in the logs is always asked for in the listener's scope.
_EVERYWHERE = Scope.everywhere()


class SessionPast:
    """The entries of one session in scope."""

    def __init__(self, store: Store, scope: Scope, session_id: UUID) -> None:
        self._store = store
        self._scope = scope
        self._session_id = session_id

    async def heads(self, starts: Offsets) -> Offsets:
        return await _heads(self._store, LedgerHeads(scope=_EVERYWHERE, starts=tuple(starts.items())))

    async def page(self, position: Position) -> tuple[list[Row], bool]:
        places = tuple(sorted(position.items()))
        rows = await self._store.rows(EntriesAfter(scope=self._scope, session_id=self._session_id, places=places))
        return rows, is_full(rows)


class ListPast:
    """The latest states of the sessions in scope. ``reached`` is this process's, see `_state_heads`."""

    def __init__(self, store: Store, scope: Scope, reached: Offsets) -> None:
        self._store = store
        self._scope = scope
        self._reached = reached

    async def heads(self, starts: Offsets) -> Offsets:
        return await _state_heads(self._store, self._reached, starts)

    async def page(self, position: Position) -> tuple[list[Row], bool]:
        rows = await self._store.rows(StatesAfter(scope=self._scope, places=tuple(sorted(position.items()))))
        return rows, is_full(rows)

    async def newest(self, search: SessionFilter, limit: int) -> list[Row]:
        """Return the newest sessions of a list, at most ``limit``, the newest first."""
        return await self._store.rows(NewestStates(scope=self._scope, search=search, limit=limit))


async def table_heads(store: Store, reached: Offsets, event_logs: Iterable[str], state_logs: Iterable[str]) -> Offsets:
    """Return up to where the ledger and the table of sessions have each of these logs."""
    # From beyond any offset: the rows of the heads say enough, and no entry is counted.
    starts = tuple((log_id, 2**63 - 1) for log_id in event_logs)
    events = await _heads(store, LedgerHeads(scope=_EVERYWHERE, starts=starts))
    return events | await _state_heads(store, reached, state_logs)


async def _state_heads(store: Store, reached: Offsets, logs: Iterable[str]) -> Offsets:
    """Return up to where the table of sessions has, or once had, each of these logs, and note it in ``reached``.

    A purge may take the row with the highest offset, and the tombstone makes none: the table's own head falls, though
    everything before it was there, and a ring that begins at it would not be met until the partition's next state.
    """
    wanted = tuple(logs)
    for log_id, head in (await _heads(store, StateHeads(scope=_EVERYWHERE, logs=wanted))).items():
        reached[log_id] = max(head, reached.get(log_id, 0))
    return {log_id: reached[log_id] for log_id in wanted if log_id in reached}


async def _heads(store: Store, query: Query) -> Offsets:
    return {row["log_id"]: row["next_offset"] for row in await store.rows(query)}
