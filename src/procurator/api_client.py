"""IO: the query API as client commands call it; a problem document becomes one line."""

from typing import Any

import httpx

from procurator.config import Settings
from procurator.errors import Unavailable, UserError

_TIMEOUT_S = 30.0


def call(settings: Settings, method: str, path: str, body: Any = None) -> Any:
    """Return the answer's JSON, None when it has no body.

    Raises UserError with the problem's detail when the API refuses, Unavailable when it is away.
    """
    url = settings.api_url.rstrip("/") + path
    key = settings.api_key.get_secret_value()
    if not key:
        raise UserError("set PROCURATOR_API_KEY to a key of the API (`procurator up` shows the admin key once)")
    try:
        with httpx.Client(timeout=_TIMEOUT_S, trust_env=False) as client:
            response = client.request(method, url, json=body, headers={"Authorization": f"Bearer {key}"})
    except httpx.HTTPError as error:
        raise Unavailable(f"the API at {settings.api_url} does not answer: {error}") from error
    if response.is_success:
        return response.json() if response.content else None
    try:
        detail = str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        detail = f"{method} {path} was answered {response.status_code}"
    if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        raise Unavailable(detail)
    raise UserError(detail)
