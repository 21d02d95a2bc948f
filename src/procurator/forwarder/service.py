"""IO: the forwarder as a component: a courier for each endpoint, until told to stop; opened again after an outage."""

import asyncio
import logging
import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

from procurator import metrics
from procurator.clickhouse import ClickHouse
from procurator.config import Settings
from procurator.errors import ProcuratorError, Unavailable, UserError
from procurator.forwarder import counts
from procurator.forwarder.batch import BatchPolicy
from procurator.forwarder.courier import Courier
from procurator.forwarder.depot import Depot
from procurator.forwarder.entries import SOURCES, Entry, Parser
from procurator.forwarder.history import History
from procurator.forwarder.journal import Change, Journal
from procurator.forwarder.live import LiveReader
from procurator.forwarder.retry import RetryPolicy
from procurator.forwarder.sender import Resolve, Resolver, Sender, SendPolicy
from procurator.forwarder.shelf import Away, unless_away
from procurator.forwarder.window import Window
from procurator.kafka import Place, Topics
from procurator.leaf import log_id
from procurator.registry import Registry
from procurator.topic_feed import Heard, TopicFeed
from procurator.topics import SESSION_EVENTS, WEBHOOK_DEAD_LETTERS, WEBHOOK_ENDPOINTS, WEBHOOK_STATE
from procurator.webhooks.addresses import AddressPolicy
from procurator.webhooks.endpoint import Endpoint
from procurator.webhooks.state import DeadLetter, State
from procurator.webhooks.vault import Vault

_log = logging.getLogger(__name__)

_PAUSE_S = 1.0
_LOOK_S = 0.1
_COUNT_EVERY_S = 5.0


@dataclass(frozen=True)
class Policies:
    """Bounds of everything that is delivered; ``window_bytes`` of records are in memory for those who keep up."""

    batches: BatchPolicy = field(default_factory=BatchPolicy)
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    sends: SendPolicy = field(default_factory=SendPolicy)
    window_bytes: int = 32 * 1024 * 1024


class Stopping(Protocol):
    """Tells whether to stop; `procurator.runtime.Stop` and threading.Event do."""

    def is_set(self) -> bool: ...


async def serve(
    settings: Settings,
    stop: Stopping,
    announce_ready: Callable[[], None],
    resolve: Resolve | None = None,
    tls: ssl.SSLContext | None = None,
    policies: Policies | None = None,
) -> None:
    """Deliver until told to stop. Raises Fatal once another forwarder has started, UserError without a key."""
    if not settings.webhook_key.get_secret_value():
        raise UserError("set PROCURATOR_WEBHOOK_KEY, to what the API has: it opens the secrets of webhooks")
    said = ""
    own = Resolver()
    resolve_of = own.of if resolve is None else lambda _org_id: resolve
    try:
        while not stop.is_set():
            trusted = tls or ssl.create_default_context()
            forwarder = Forwarder(settings, resolve_of, trusted, policies or Policies())
            try:
                await forwarder.run(stop, announce_ready)
            except (ExceptionGroup, ProcuratorError) as error:
                cause = _leaf(error)
                if not isinstance(cause, Unavailable):
                    raise cause from None
                if str(cause) != said:  # once for an outage, not once a second
                    _log.warning("%s: waiting", cause)
                said = str(cause)
                metrics.OUTAGES.inc()
                await asyncio.sleep(_PAUSE_S)
    finally:
        own.close()


class Forwarder:
    """One opening: what is wanted and how far it is are read from Kafka, then every endpoint has its courier."""

    def __init__(
        self,
        settings: Settings,
        resolve_of: Callable[[str | None], Resolve],
        tls: ssl.SSLContext,
        policies: Policies,
    ) -> None:
        self._settings = settings
        self._addresses = AddressPolicy.of(settings.webhook_private_networks)
        self._resolve_of = resolve_of
        self._tls = tls
        self._policies = policies
        self._registry = Registry(settings.schema_registry_url)
        self._endpoints: dict[str, Endpoint] = {}
        #: Also those that this version cannot read.
        self._known: set[str] = set()
        self._states: dict[str, State] = {}
        self._letters: dict[str, DeadLetter] = {}
        self._couriers: dict[str, tuple[Courier, asyncio.Task[None]]] = {}
        self._wanted = asyncio.Event()

    async def run(self, stop: Stopping, announce_ready: Callable[[], None]) -> None:
        """Deliver until told to stop; nothing is read while nobody wants anything. Raises an ExceptionGroup."""
        async with AsyncExitStack() as closing:
            closing.callback(self._registry.close)
            journal = await self._listen(closing)
            announce_ready()
            while not self._endpoints:
                if stop.is_set():
                    return
                await asyncio.sleep(_LOOK_S)
            depot, reader = await self._open(closing, journal)
            async with asyncio.TaskGroup() as tasks:
                background = [
                    tasks.create_task(journal.run()),
                    tasks.create_task(reader.run(partial(self._take, depot.window))),
                    tasks.create_task(self._employ(depot, tasks)),
                    tasks.create_task(self._count()),
                ]
                while not stop.is_set():  # noqa: ASYNC110 - a signal sets it, or another thread
                    await asyncio.sleep(_LOOK_S)
                for task in (*background, *(task for _, task in self._couriers.values())):
                    task.cancel()

    async def _listen(self, closing: AsyncExitStack) -> Journal:
        """Fence the others, so that what is then read of the states stays so; return once all has been read."""
        kafka = self._settings.kafka_bootstrap_servers
        journal = Journal(kafka, self._registry)
        closing.callback(journal.close)
        await asyncio.to_thread(journal.open)
        topics = (WEBHOOK_ENDPOINTS, WEBHOOK_STATE, WEBHOOK_DEAD_LETTERS)
        loop = asyncio.get_running_loop()

        def hear(heard: list[Heard]) -> None:
            with suppress(RuntimeError):  # the loop has ended: nobody listens any more
                loop.call_soon_threadsafe(self._hear, heard)

        feed = TopicFeed(kafka, self._registry, topics, hear)
        closing.callback(feed.close)
        await asyncio.to_thread(feed.start)
        await asyncio.to_thread(feed.catch_up)
        return journal

    async def _open(self, closing: AsyncExitStack, journal: Journal) -> tuple[Depot, LiveReader]:
        kafka = self._settings.kafka_bootstrap_servers
        logs, starts, partitions = await asyncio.to_thread(self._logs)
        parser = Parser(self._registry.fetch, partitions)
        clickhouse = ClickHouse.of(self._settings)
        closing.callback(clickhouse.close)
        history = History(kafka, clickhouse, parser, logs)
        closing.callback(history.close)
        reader = LiveReader(kafka, parser, logs, starts)
        closing.callback(reader.close)
        window = Window({logs[place]: start for place, start in starts.items()}, self._policies.window_bytes)
        vault = Vault(self._settings.webhook_key.get_secret_value())
        rules = self._policies.batches, self._policies.retries
        return Depot(window, history, journal, vault, self._letters, self._sender, *rules), reader

    def _logs(self) -> tuple[dict[Place, str], dict[Place, int], int]:
        """Return the log of each partition that is read, where each ends now, and the events' partitions."""
        topics = Topics(self._settings.kafka_bootstrap_servers)
        described = topics.describe([topic.name for topic in SOURCES])
        if missing := [topic.name for topic in SOURCES if topic.name not in described]:
            raise UserError(f"topic {missing[0]} does not exist: run `procurator setup`")
        logs = {(name, n): log_id(topic_id, n) for name, (topic_id, count) in described.items() for n in range(count)}
        ends = {place: end for place, (_, end) in topics.bounds(logs).items()}
        return logs, ends, described[SESSION_EVENTS.name][1]

    def _sender(self, endpoint: Endpoint) -> Sender:
        resolve = self._resolve_of(endpoint.org_id)
        return Sender(endpoint.url, self._addresses, resolve, self._tls, self._policies.sends)

    def _take(self, window: Window, found: list[tuple[str, list[Entry], int]]) -> None:
        for log, entries, end in found:
            window.add(log, entries, end)
        for courier, _ in self._couriers.values():
            courier.notice()

    # --- what is wanted

    def _hear(self, heard: list[Heard]) -> None:
        for topic, _, key, record in heard:
            name = key.decode("utf-8", "replace")
            if topic == WEBHOOK_ENDPOINTS:
                self._want(name, record)
                self._wanted.set()
            elif topic == WEBHOOK_STATE:
                if record is not None and name not in self._couriers:
                    self._states[name] = State.from_record(record)
            elif record is None:
                self._letters.pop(name, None)
            else:
                self._letters[name] = DeadLetter.from_record(record)

    def _want(self, name: str, record: dict[str, Any] | None) -> None:
        try:
            if record is None:
                self._known.discard(name)
                self._endpoints.pop(name, None)
            else:
                self._known.add(name)
                self._endpoints[name] = Endpoint.from_record(record)
        except ValueError as error:
            _log.warning("webhook %s is passed over: %s", name, error)

    async def _employ(self, depot: Depot, tasks: asyncio.TaskGroup) -> None:
        """Keep a courier for each endpoint that is wanted, and for no other."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            for endpoint_id in (self._couriers.keys() | self._states.keys()) - self._known:
                await self._dismiss(depot, endpoint_id)
            for endpoint_id, endpoint in list(self._endpoints.items()):
                if endpoint_id in self._couriers:
                    self._couriers[endpoint_id][0].update(endpoint)
                    continue
                try:
                    courier = Courier(depot, endpoint, await self._state(depot, endpoint))
                except Away as away:
                    _log.warning("webhook %s: %s: waiting", endpoint_id, away)
                    asyncio.get_running_loop().call_later(_PAUSE_S, self._wanted.set)
                    continue
                self._couriers[endpoint_id] = courier, tasks.create_task(courier.run())

    async def _state(self, depot: Depot, endpoint: Endpoint) -> State:
        """Return how far an endpoint is; a new one begins at what came when it was made."""
        state = self._states.pop(endpoint.endpoint_id, None)
        if state is None:
            positions = await unless_away(depot.history.positions_at(endpoint.created_at))
            state = State(endpoint.endpoint_id, positions)
            await depot.journal.write(Change(WEBHOOK_STATE, endpoint.endpoint_id, state.to_record()))
            return state
        new = dict.fromkeys(depot.window.chunks.keys() - state.positions.keys(), 0)
        return replace(state, positions={**state.positions, **new})

    async def _dismiss(self, depot: Depot, endpoint_id: str) -> None:
        self._states.pop(endpoint_id, None)
        if endpoint_id in self._couriers:
            _, task = self._couriers.pop(endpoint_id)
            task.cancel()
            await asyncio.wait({task})  # which lets this task's own cancellation through
        own = [key for key, letter in self._letters.items() if letter.endpoint_id == endpoint_id]
        forgotten = [Change(WEBHOOK_DEAD_LETTERS, self._letters.pop(key).key, None) for key in own]
        await depot.journal.write(Change(WEBHOOK_STATE, endpoint_id, None), *forgotten)

    async def _count(self) -> None:
        while True:
            couriers = [courier for courier, _ in self._couriers.values()]
            for state in ("working", "failing", "stopped", "disabled"):
                counts.ENDPOINTS.labels(state).set(sum(courier.condition == state for courier in couriers))
            counts.LAG.set(max((each.lag for each in couriers if each.condition == "working"), default=0))
            await asyncio.sleep(_COUNT_EVERY_S)


def _leaf(error: BaseException) -> BaseException:
    """Return the first error in a group that is none itself."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
