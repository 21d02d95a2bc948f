"""The application, wired: routes, errors, log, and connections that live as long as it does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from procurator.config import Settings
from procurator.query_api import problems
from procurator.query_api.auth import Authenticator
from procurator.query_api.request_log import RequestLog
from procurator.query_api.routes import budgets, health, index, ledger, session_parts, sessions, termination
from procurator.query_api.services import Services

_DESCRIPTION = (
    "The audit ledger of every agent interaction. Lists are `{items, next_cursor}`; times are RFC 3339 in UTC with "
    "microseconds, money is a decimal string in USD, errors are problem documents (RFC 9457)."
)


def create_app(settings: Settings, authenticator: Authenticator) -> FastAPI:
    """Return the application. It connects when it is served; neighbours may come and go."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.services = services = Services.connect(settings)
        yield
        await services.close()

    app = FastAPI(
        title="Procurator Sessions",
        version=version("procurator-ledger"),
        description=_DESCRIPTION,
        lifespan=lifespan,
        # Their pages load scripts from elsewhere; the start page links the document itself.
        docs_url=None,
        redoc_url=None,
    )
    app.state.authenticator = authenticator
    app.add_middleware(RequestLog)
    problems.install(app)
    for module in (index, health, sessions, session_parts, ledger, budgets, termination):
        app.include_router(module.router)
    problems.describe(app)
    return app
