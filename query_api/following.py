"""IO: topics that the API reads whole and keeps in memory, in the background, whether Kafka is there or comes later."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable

from procurator.config import Settings
from procurator.errors import Unavailable, UserError
from procurator.registry import Registry
from procurator.topic_feed import Heard, TopicFeed
from procurator.topics import Topic

_log = logging.getLogger(__name__)

_RETRY_S = 1.0


class Following:
    """Hands what ``topics`` say to ``take``, in a thread, from `start` to `close`; ``what`` names it for people."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        topics: Iterable[Topic],
        take: Callable[[list[Heard]], None],
        what: str,
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._topics = tuple(topics)
        self._take = take
        self._what = what
        self._feed: TopicFeed | None = None
        self._informed = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._begin, name=what, daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    async def informed(self, timeout_s: float) -> bool:
        """Wait until all has been read that was there at the start; return whether it has."""
        return await asyncio.to_thread(self._informed.wait, timeout_s)

    def require(self) -> TopicFeed:
        """Return the feed. Raises Unavailable until all has been read that was there at the start."""
        if self._feed is None or not self._informed.is_set():
            raise Unavailable(f"the {self._what} have not been read from Kafka yet")
        return self._feed

    async def catch_up(self, *topics: Topic) -> None:
        """Return once all was handed over that ``topics`` held when this was called. Raises Unavailable."""
        await asyncio.to_thread(self.require().catch_up, topics)

    def close(self) -> None:
        """Stop reading."""
        self._stop.set()
        if self._feed is not None:
            self._feed.close()

    def _begin(self) -> None:
        while not self._stop.is_set():
            feed = TopicFeed(self._settings.kafka_bootstrap_servers, self._registry, self._topics, self._take)
            try:
                feed.start()
                self._feed = feed
                feed.catch_up()
                self._informed.set()
                return
            except (Unavailable, UserError) as error:  # not set up yet is away as well
                _log.warning("%s: %s; trying again", self._what, error)
                feed.close()
                self._stop.wait(_RETRY_S)
