"""IO: the keys of the API, followed in Kafka, kept in memory: a revocation reaches every process within a second.

Why a compacted topic and not a table: docs/decisions/0012.
"""

import logging
from typing import Any

from procurator.access import Principal
from procurator.api_keys import ApiKey, key_id_of
from procurator.clock import now_us
from procurator.config import Settings
from procurator.query_api.commands import Commands
from procurator.query_api.following import Following
from procurator.registry import Registry
from procurator.topic_feed import Heard
from procurator.topics import API_KEYS

_log = logging.getLogger(__name__)


class KeyRing:
    """All keys, revoked ones included. Until all have been read, `keys` and `principal` raise Unavailable."""

    def __init__(self, settings: Settings, registry: Registry, commands: Commands) -> None:
        self._keys: dict[str, ApiKey] = {}
        self._commands = commands
        self.following = Following(settings, registry, (API_KEYS,), self._take, "API keys")

    def start(self) -> None:
        """Begin to read, whether Kafka is there already or comes later."""
        self.following.start()

    @property
    def keys(self) -> dict[str, ApiKey]:
        """The keys by id."""
        self.following.require()
        return self._keys

    async def principal(self, token: str) -> Principal | None:
        """Return who calls with a key that opens now; None for any other text."""
        key_id = key_id_of(token)
        key = None if key_id is None else self.keys.get(key_id)
        return key.principal if key is not None and key.opens(token, now_us()) else None

    async def put(self, key: ApiKey) -> None:
        """Publish a key as it is from now on; afterwards `keys` has it."""
        self.following.require()
        await self._commands.send(API_KEYS, key.key_id, key.to_record())
        await self.following.catch_up(API_KEYS)

    def close(self) -> None:
        """Stop reading."""
        self.following.close()

    def _take(self, heard: list[Heard]) -> None:
        for _, _, name, record in heard:
            key_id = name.decode("utf-8", "replace")
            key = None if record is None else _readable(key_id, record)
            if key is None:
                self._keys.pop(key_id, None)
            else:
                self._keys[key_id] = key


def _readable(key_id: str, record: dict[str, Any]) -> ApiKey | None:
    try:
        key = ApiKey.from_record(record)
        _ = key.principal  # refuses an organisation that cannot be
    except ValueError as error:
        _log.warning("API key %s opens nothing: %s", key_id, error)
        return None
    return key
