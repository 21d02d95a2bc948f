"""IO: webhooks as they are wanted and how far they are, followed in Kafka, kept in memory (docs/decisions/0015)."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from procurator.config import Settings
from procurator.query_api.commands import Commands
from procurator.query_api.following import Following
from procurator.registry import Registry
from procurator.topic_feed import Heard
from procurator.topics import WEBHOOK_DEAD_LETTERS, WEBHOOK_ENDPOINTS, WEBHOOK_STATE
from procurator.webhooks.addresses import AddressPolicy
from procurator.webhooks.endpoint import Endpoint
from procurator.webhooks.state import DeadLetter, State
from procurator.webhooks.vault import Vault

_log = logging.getLogger(__name__)

T = TypeVar("T")


class WebhookBoard:
    """What is known of every endpoint. Until all has been read, `endpoints` raises Unavailable."""

    def __init__(self, settings: Settings, registry: Registry, commands: Commands) -> None:
        self.vault = Vault(settings.webhook_key.get_secret_value())
        self.policy = AddressPolicy.of(settings.webhook_private_networks)
        #: How far the forwarder is, by endpoint; none for an endpoint that it has not seen yet.
        self.states: dict[str, State] = {}
        self._endpoints: dict[str, Endpoint] = {}
        self._letters: dict[str, DeadLetter] = {}
        #: Held from reading the endpoints until a change is published: of two at once, none is lost.
        self.changing = asyncio.Lock()
        self._commands = commands
        topics = (WEBHOOK_ENDPOINTS, WEBHOOK_STATE, WEBHOOK_DEAD_LETTERS)
        self.following = Following(settings, registry, topics, self._take, "webhooks")

    def start(self) -> None:
        """Begin to read, whether Kafka is there already or comes later."""
        self.following.start()

    @property
    def endpoints(self) -> dict[str, Endpoint]:
        """The endpoints by id."""
        self.following.require()
        return self._endpoints

    @property
    def log_ids(self) -> set[str]:
        """The logs that the forwarder delivers from, as it has said so far."""
        self.following.require()
        return {log_id for state in list(self.states.values()) for log_id in state.positions}

    def dead_letters(self, endpoint_id: str) -> list[DeadLetter]:
        """Return an endpoint's dead letters in the order of their sequence numbers."""
        found = [letter for letter in list(self._letters.values()) if letter.endpoint_id == endpoint_id]
        return sorted(found, key=lambda letter: letter.sequence)

    async def put(self, endpoint: Endpoint) -> None:
        """Publish an endpoint as it is wanted from now on; afterwards `endpoints` has it."""
        await self._send(endpoint.endpoint_id, endpoint.to_record())

    async def remove(self, endpoint_id: str) -> None:
        """Forget an endpoint; the forwarder then forgets how far it was."""
        await self._send(endpoint_id, None)

    def close(self) -> None:
        """Stop reading."""
        self.following.close()

    async def _send(self, endpoint_id: str, record: dict[str, Any] | None) -> None:
        self.following.require()
        await self._commands.send(WEBHOOK_ENDPOINTS, endpoint_id, record)
        await self.following.catch_up(WEBHOOK_ENDPOINTS)

    def _take(self, heard: list[Heard]) -> None:
        for topic, _, key, record in heard:
            name = key.decode("utf-8", "replace")
            if topic == WEBHOOK_ENDPOINTS:
                _keep(self._endpoints, name, record, Endpoint.from_record)
            elif topic == WEBHOOK_STATE:
                _keep(self.states, name, record, State.from_record)
            else:
                _keep(self._letters, name, record, DeadLetter.from_record)


def _keep(kept: dict[str, T], name: str, record: dict[str, Any] | None, read: Callable[[dict[str, Any]], T]) -> None:
    """Keep what a record says under its name; one that cannot be read is passed over."""
    try:
        if record is None:
            kept.pop(name, None)
        else:
            kept[name] = read(record)
    except ValueError as error:
        _log.warning("webhooks: the record of %s is passed over: %s", name, error)
