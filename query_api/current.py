"""A session as of its last event in the ledger: its published state, and the events that state has not seen.

The state topic lags by up to a quarter of a second and may stand still; the ledger knows more. The same pure fold as
the stream processors' goes on from the published state, so that both always agree.
"""

import asyncio
import base64
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from procurator import events
from procurator.access import Scope
from procurator.avro_json import Convert
from procurator.avro_schemas.codec import Decoder
from procurator.clock import to_us
from procurator.pricing import Cost
from procurator.query_api.queries.base import Row
from procurator.query_api.queries.entries import FOLD_EVENTS_MAX, LaterEvents
from procurator.query_api.queries.sessions import PublishedState
from procurator.query_api.store import Store
from procurator.session_state import SessionState


class CurrentSessions:
    """Reads sessions. ``states`` and ``session_events`` decode records, ``to_json`` shows a state's record."""

    def __init__(self, store: Store, states: Decoder, session_events: Decoder, to_json: Convert) -> None:
        self._store = store
        self._states = states
        self._events = session_events
        self._to_json = to_json

    async def read(self, scope: Scope, session_id: UUID) -> dict[str, Any] | None:
        """Return the session's state as JSON values, or None when nothing in scope counts for it.

        Raises Unavailable when ClickHouse, or the registry for a schema not met before, is away.
        """
        state: SessionState | None = None
        log_id: str | None = None
        published = await self._store.rows(PublishedState(scope=scope, session_id=session_id))
        if published:
            log_id = published[0]["log_id"]
            state = await asyncio.to_thread(self._restore, published[0])
        while True:
            after, as_of_us = (-1, 0) if state is None else (state.as_of_offset, state.as_of)
            query = LaterEvents(
                scope=scope, session_id=session_id, log_id=log_id, after_offset=after, as_of_us=as_of_us
            )
            rows = await self._store.rows(query)
            if rows:
                # Of a session in two logs (a recreated topic) the first is shown: offsets of two cannot be compared.
                log_id = log_id or rows[0]["log_id"]
                state = state or SessionState(str(session_id))
                await asyncio.to_thread(self._fold, state, [row for row in rows if row["log_id"] == log_id])
            if len(rows) < FOLD_EVENTS_MAX:
                break
        if state is None or log_id is None:
            return None
        record: dict[str, Any] = self._to_json(state.to_record(log_id))
        return record

    async def published(self, scope: Scope, session_id: UUID) -> dict[str, Any] | None:
        """Return the published state alone, which lags by some 250 ms; where none is yet, what `read` returns.

        One look instead of two at a ClickHouse that may be busy: for who must be quick and needs nothing newer.
        """
        rows = await self._store.rows(PublishedState(scope=scope, session_id=session_id))
        if not rows:
            return await self.read(scope, session_id)
        state = await asyncio.to_thread(self._restore, rows[0])
        record: dict[str, Any] = self._to_json(state.to_record(rows[0]["log_id"]))
        return record

    def _restore(self, row: Row) -> SessionState:
        return SessionState.from_record(self._states.decode(base64.b64decode(row["state"])))

    def _fold(self, state: SessionState, rows: list[Row]) -> None:
        for row in rows:
            event = events.parse(self._events, base64.b64decode(row["value"]))
            price = row["cost_usd"]
            cost = None if price is None else Cost(Decimal(price), row["price_version"])
            broker_time_us = to_us(datetime.fromisoformat(row["broker_time"]))
            state.apply(event, offset=row["offset"], broker_time_us=broker_time_us, cost=cost)
