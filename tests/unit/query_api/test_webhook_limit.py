"""How many webhooks there may be: so many an organisation, whatever the others have."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from procurator.access import Permission, Principal
from procurator.query_api.models.webhooks import NewWebhookBody
from procurator.query_api.problems import Problem
from procurator.query_api.routes.webhooks import ENDPOINTS_MAX, make_webhook
from procurator.webhooks.addresses import AddressPolicy
from procurator.webhooks.vault import Vault


class Board:
    """A board on which one organisation has all that it may have."""

    def __init__(self) -> None:
        self.vault, self.policy, self.changing = Vault("k" * 32), AddressPolicy.of(""), asyncio.Lock()
        self.endpoints: dict[str, Any] = {str(n): SimpleNamespace(org_id="many") for n in range(ENDPOINTS_MAX)}
        self.states: dict[str, Any] = {}

    def dead_letters(self, _endpoint_id: str) -> list[Any]:
        return []

    async def put(self, endpoint: Any) -> None:
        self.endpoints[endpoint.endpoint_id] = endpoint


def make(org_id: str, board: Board) -> int:
    async def shown(**_: Any) -> None:
        pass

    principal = Principal("ann", org_id, frozenset({Permission.ADMIN}))
    access, services = SimpleNamespace(principal=principal, shown=shown), SimpleNamespace(webhooks=board)
    body = NewWebhookBody(name="n", url="https://siem.example.com/")
    return asyncio.run(make_webhook(access, services, body)).status_code  # type: ignore[arg-type]


def test_an_organisation_that_has_the_most_takes_nothing_from_another() -> None:
    board = Board()
    with pytest.raises(Problem, match="1,000 webhooks"):
        make("many", board)
    assert make("one", board) == 201
