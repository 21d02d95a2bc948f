"""The audit of the audit: what is shown, changed or refused is itself an event of the ledger.

Nothing is shown before Kafka has acknowledged that it is: `AuditLog.record` returns then, and raises Unavailable
otherwise, which the caller is answered 503. The sink ledgers the topic as it does the agents' events.
"""

import asyncio
import os
import socket
from collections.abc import Mapping
from hashlib import sha256
from itertools import count
from typing import Any
from uuid import uuid4

import orjson
from fastapi import Request

from procurator.access import NO_ORGANISATION, Principal
from procurator.audit_events import ALLOWED, AuditEvent
from procurator.avro_schemas.codec import Schema, load_schema
from procurator.clock import now_us
from procurator.config import Settings
from procurator.errors import Unavailable
from procurator.query_api.acknowledged import AcknowledgedProducer
from procurator.query_api.metrics import ApiMetrics
from procurator.registry import Registry
from procurator.topics import AUDIT

#: Longer filters and details are recorded by their beginning and their digest.
_TEXT_CHARS_MAX = 8_192


class AuditLog:
    """Writes audit events. One emitter for each process: a number that is missing was never acknowledged."""

    def __init__(self, settings: Settings, registry: Registry, metrics: ApiMetrics) -> None:
        self._metrics = metrics
        self._registry = registry
        self._producer = AcknowledgedProducer(settings.kafka_bootstrap_servers)
        self._emitter_id = f"api:{socket.gethostname()}:{uuid4()}"
        self._sequence = count()
        self._schema = load_schema(AUDIT.schema)
        self._schema_id: int | None = None

    async def record(
        self,
        request: Request | None,
        principal: Principal,
        action: str,
        outcome: str = ALLOWED,
        *,
        resource: str | None = None,
        owner_team_id: str | None = None,
        filter: Mapping[str, Any] | None = None,
        item_count: int | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """Write one event, about ``request`` if there is one; return when Kafka has it.

        Raises Unavailable when it does not.
        """
        schema, schema_id = await self._registered()
        event: AuditEvent = {
            "event_id": str(uuid4()),
            "emitter_id": self._emitter_id,
            "sequence": next(self._sequence),
            "occurred_at": now_us(),
            "nonce": os.urandom(16),
            "org_id": principal.org_id or NO_ORGANISATION,
            "principal": principal.principal_id,
            "action": action,
            "outcome": outcome,
            "resource": resource,
            "owner_team_id": owner_team_id,
            "purpose": getattr(request.state, "purpose", None) if request else None,
            "filter": _json(filter),
            "item_count": item_count,
            "request_id": request.state.request_id if request else None,
            "remote_address": request.client.host if request and request.client else None,
            "details": _json(details),
        }
        value = schema.encode(dict(event), schema_id)
        with self._metrics.audit_seconds.time(), self._metrics.audit_failures.count_exceptions(Unavailable):
            await self._producer.send(AUDIT.name, principal.principal_id, value)

    async def close(self) -> None:
        """Wait for what is under way, then close."""
        await asyncio.to_thread(self._producer.close)

    async def _registered(self) -> tuple[Schema, int]:
        if self._schema_id is None:
            self._schema_id = await asyncio.to_thread(self._registry.schema_id, self._schema)
        return self._schema, self._schema_id


def _json(value: Mapping[str, Any] | None) -> str | None:
    if not value:
        return None
    text = orjson.dumps(value, default=str, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS).decode()
    if len(text) <= _TEXT_CHARS_MAX:
        return text
    return orjson.dumps({"beginning": text[:_TEXT_CHARS_MAX], "sha256": sha256(text.encode()).hexdigest()}).decode()
