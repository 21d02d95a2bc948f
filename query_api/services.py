"""What the routes work with, made once for each process."""

import asyncio
from dataclasses import dataclass

from procurator.avro_json import Convert, converter
from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.config import Settings
from procurator.query_api.audit import AuditLog
from procurator.query_api.budget_board import BudgetBoard
from procurator.query_api.commands import Commands
from procurator.query_api.current import CurrentSessions
from procurator.query_api.export.service import Exports
from procurator.query_api.key_ring import KeyRing
from procurator.query_api.live.service import Live
from procurator.query_api.liveness import Liveness
from procurator.query_api.metrics import ApiMetrics
from procurator.query_api.proofs import Proofs
from procurator.query_api.refusals import RefusalLog
from procurator.query_api.store import Store
from procurator.query_api.webhook_board import WebhookBoard
from procurator.registry import Registry


@dataclass(frozen=True)
class Services:
    """Connections to the neighbours, and what is built on them."""

    store: Store
    registry: Registry
    sessions: CurrentSessions
    event_decoder: Decoder
    event_to_json: Convert
    proofs: Proofs
    commands: Commands
    budgets: BudgetBoard
    liveness: Liveness
    audit: AuditLog
    refusals: RefusalLog
    keys: KeyRing
    live: Live
    exports: Exports
    webhooks: WebhookBoard

    @classmethod
    def connect(cls, settings: Settings, metrics: ApiMetrics) -> "Services":
        """Return the services. Nothing is sent yet: a neighbour may be away and come later."""
        store = Store(settings)
        registry = Registry(settings.schema_registry_url)
        event_schema, state_schema = load_schema("session_event"), load_schema("session_state")
        event_decoder = Decoder(event_schema, registry.fetch)
        state_decoder = Decoder(state_schema, registry.fetch)
        sessions = CurrentSessions(store, state_decoder, event_decoder, converter(state_schema.text))
        proofs = Proofs(settings, registry)
        commands = Commands(settings, registry)
        budgets = BudgetBoard(settings, registry, commands)
        budgets.start()
        liveness = Liveness(settings, registry)
        liveness.start()
        audit = AuditLog(settings, registry, metrics)
        refusals = RefusalLog(audit, metrics)
        keys = KeyRing(settings, registry, commands)
        keys.start()
        webhooks = WebhookBoard(settings, registry, commands)
        webhooks.start()
        exports = Exports(settings, proofs.newest_note)
        exports.start()
        live = Live(settings, store, registry, sessions, liveness.shown, metrics.live_slow.inc)
        metrics.live_listeners.set_function(lambda: live.hub.listeners)
        to_json = converter(event_schema.text)
        return cls(
            store,
            registry,
            sessions,
            event_decoder,
            to_json,
            proofs,
            commands,
            budgets,
            liveness,
            audit,
            refusals,
            keys,
            live,
            exports,
            webhooks,
        )

    async def informed(self, timeout_s: float) -> None:
        """Wait until budgets, keys, signals and webhooks are known; no longer, since Kafka may be away."""
        boards = (self.budgets, self.keys, self.liveness, self.webhooks)
        await asyncio.gather(*(board.following.informed(timeout_s) for board in boards))

    async def close(self) -> None:
        """Close the connections."""
        await self.live.close()
        await self.exports.close()
        await self.store.close()
        await self.refusals.close()
        await self.audit.close()
        await asyncio.to_thread(self.budgets.close)
        await asyncio.to_thread(self.keys.close)
        await asyncio.to_thread(self.webhooks.close)
        await asyncio.to_thread(self.liveness.close)
        self.commands.close()
        self.proofs.close()
        self.registry.close()
