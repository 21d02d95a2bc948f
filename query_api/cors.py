"""Which other sites' pages may call the API from a browser: none, unless the settings name their origins. Pure."""

import re
from typing import Any

from procurator.config import Settings
from procurator.errors import UserError

_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:\d{1,5})?").fullmatch
_HEADERS = ("Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "X-Purpose", "X-Request-Id")


def allowed_origins(settings: Settings) -> list[str]:
    """Return the origins that the settings name. Raises UserError for what is no origin, ``*`` included."""
    origins = settings.cors_origins.replace(",", " ").split()
    for origin in origins:
        if not _ORIGIN(origin):
            raise UserError(f"PROCURATOR_CORS_ORIGINS: {origin!r} is no origin such as https://dash.example.com")
    return origins


def cors(origins: list[str]) -> dict[str, Any]:
    """Return the middleware's arguments: those origins send keys, never the pages' cookie."""
    return {
        "allow_origins": origins,
        "allow_methods": ["GET", "POST", "PUT", "DELETE"],
        "allow_headers": list(_HEADERS),
        "expose_headers": ["X-Request-Id", "Retry-After", "Idempotency-Replayed"],
        "allow_credentials": False,
    }
