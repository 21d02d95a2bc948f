"""Puts the pages into the API's application: templates, assets, browser sessions, routes."""

from fastapi import FastAPI

from procurator.config import Settings
from procurator.query_api.ui.assets import Assets
from procurator.query_api.ui.browser_sessions import BrowserSessions
from procurator.query_api.ui.login_links import LoginLinks
from procurator.query_api.ui.page import environment
from procurator.query_api.ui.routes import (
    audit,
    budgets,
    exports,
    keys,
    ledger,
    overview,
    session,
    session_parts,
    sessions,
    signin,
    static,
    webhooks,
)


def install(app: FastAPI, settings: Settings) -> None:
    """Add the pages to ``app``. They are no part of the API's description."""
    assets = Assets.read()
    app.state.assets = assets
    app.state.templates = environment(settings, assets)
    app.state.login_links = LoginLinks()
    app.state.browser_sessions = BrowserSessions(settings.admin_key.get_secret_value())
    for module in (
        static,
        signin,
        overview,
        sessions,
        session,
        session_parts,
        budgets,
        ledger,
        exports,
        audit,
        webhooks,
        keys,
    ):
        app.include_router(module.router, include_in_schema=False)
