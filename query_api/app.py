"""The application, wired: routes, errors, log, and connections that live as long as it does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from procurator.config import Settings
from procurator.query_api import idempotency, problems
from procurator.query_api.audit_guard import AuditGuard
from procurator.query_api.auth import Authenticator
from procurator.query_api.body_limit import BodyLimit
from procurator.query_api.cors import allowed_origins, cors
from procurator.query_api.identities import Identities, Provider
from procurator.query_api.metrics import ApiMetrics
from procurator.query_api.rate_limit import RateLimiter, RatePolicy
from procurator.query_api.request_log import RequestLog
from procurator.query_api.routes import (
    audit,
    budgets,
    exports,
    health,
    keys,
    ledger,
    live,
    metrics,
    session_parts,
    sessions,
    spend,
    termination,
    webhooks,
)
from procurator.query_api.services import Services
from procurator.query_api.ui import install as ui

#: The start waits for what is kept in Kafka (keys, budgets) to be known, but no longer: Kafka may be away.
_INFORMED_S = 5.0
_DESCRIPTION = (
    "The audit ledger of every agent interaction. Lists are `{items, next_cursor}`; times are RFC 3339 in UTC with "
    "microseconds, money is a decimal string in USD, errors are problem documents (RFC 9457)."
)


def create_app(settings: Settings, authenticator: Authenticator) -> FastAPI:
    """Return the application. It connects when it is served; neighbours may come and go.

    ``authenticator`` is asked first, then the API's keys, then the identity provider's tokens if the settings name one.
    """

    figures = ApiMetrics()
    provider = Provider.of(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.services = services = Services.connect(settings, figures)
        app.state.authenticator = Identities([authenticator, services.keys, *([provider] if provider else [])])
        summaries = asyncio.create_task(services.refusals.summarise())
        await services.informed(_INFORMED_S)
        yield
        summaries.cancel()
        await services.close()
        if provider:
            await provider.close()

    app = FastAPI(
        title="Procurator Sessions",
        version=version("procurator-ledger"),
        description=_DESCRIPTION,
        lifespan=lifespan,
        # Their pages load scripts from elsewhere; the start page links the document itself.
        docs_url=None,
        redoc_url=None,
    )
    app.state.metrics = figures
    app.state.rate_limiter = RateLimiter(RatePolicy(settings.rate_limit_per_s, settings.rate_limit_burst))
    # The last one added is the outermost.
    idempotency.install(app)
    app.add_middleware(AuditGuard)
    app.add_middleware(BodyLimit)
    if origins := allowed_origins(settings):
        app.add_middleware(CORSMiddleware, **cors(origins))
    app.add_middleware(RequestLog, metrics=figures)
    problems.install(app)
    for module in (
        health,
        metrics,
        sessions,
        session_parts,
        ledger,
        budgets,
        termination,
        keys,
        audit,
        live,
        exports,
        spend,
        webhooks,
    ):
        app.include_router(module.router)
    ui.install(app, settings)
    problems.describe(app)
    return app
