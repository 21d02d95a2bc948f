"""Other sites' pages: refused unless the settings name their origin, and never with the cookie."""

import pytest
from fastapi.testclient import TestClient

from procurator.config import Settings
from procurator.errors import UserError
from procurator.query_api.app import create_app
from procurator.query_api.auth import AdminKey
from procurator.query_api.cors import allowed_origins

_OURS = "https://dash.example"


def _preflight(settings: Settings, origin: str) -> dict[str, str]:
    client = TestClient(create_app(settings, AdminKey("k")))  # not entered: a preflight asks no neighbour
    headers = {"Origin": origin, "Access-Control-Request-Method": "GET"}
    answered = client.options("/v1/sessions", headers={**headers, "Access-Control-Request-Headers": "Authorization"})
    return {name: value for name, value in answered.headers.items() if name.startswith("access-control-allow")}


def test_closed_by_default() -> None:
    assert _preflight(Settings(), _OURS) == {}


def test_an_origin_that_is_named_may_call_with_a_key_and_no_other() -> None:
    settings = Settings(cors_origins=f"{_OURS}, http://localhost:3000")
    allowed = _preflight(settings, _OURS)
    assert allowed["access-control-allow-origin"] == _OURS
    assert "Authorization" in allowed["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in allowed
    assert "access-control-allow-origin" not in _preflight(settings, "https://evil.example")
    assert "access-control-allow-origin" not in _preflight(settings, f"{_OURS}.evil.example")


@pytest.mark.parametrize("origins", ["*", "dash.example", "https://dash.example/", "https://*.example", "null"])
def test_what_is_no_origin_is_refused(origins: str) -> None:
    with pytest.raises(UserError, match="PROCURATOR_CORS_ORIGINS: .* is no origin"):
        allowed_origins(Settings(cors_origins=origins))
