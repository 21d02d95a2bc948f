"""The Faust app: group membership, fetching, flow control and commits around a `Worker`; and its life as a process."""

import asyncio
import gc
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faust
from faust.types import TP

from procurator.avro_schemas.codec import load_schema
from procurator.errors import Fatal, ProcuratorError, UserError
from procurator.kafka import Topics
from procurator.price_feed import PriceFeed
from procurator.registry import Registry
from procurator.stream_processors.budgets.overseer import Overseer
from procurator.stream_processors.partition import PublishPolicy
from procurator.stream_processors.transport import Batch, Transport
from procurator.stream_processors.worker import Worker
from procurator.topics import MESSAGE_BYTES_MAX, PRICES, SESSION_EVENTS, SESSION_STATE

_TOPIC_CHECK_S = 10.0
#: States are many, live long and have no cycles: walking them again and again would cost a third of the time.
_GC_THRESHOLD = (100_000, 20, 100)


@dataclass(frozen=True)
class StreamConfig:
    """What a worker connects to. Workers of one ``group_id`` share the partitions of ``events_topic``."""

    bootstrap_servers: str
    registry_url: str
    data_dir: Path
    group_id: str = "procurator-stream"
    events_topic: str = SESSION_EVENTS.name
    state_topic: str = SESSION_STATE.name
    prices_topic: str = PRICES.name
    policy: PublishPolicy = PublishPolicy()  # noqa: RUF009 - frozen
    #: Keep budgets and endings as well. Their topics are the usual ones, with as many partitions as `events_topic`.
    budgets: bool = True


def run(config: StreamConfig, announce_ready: Callable[[], None]) -> int:
    """Work until SIGTERM or SIGINT and return the exit code.

    Raises UserError when something is not set up, Unavailable when a neighbour is away at the start, Fatal when
    another worker has taken a partition over or the topic was recreated: then start anew.
    """
    gc.set_threshold(*_GC_THRESHOLD)
    topic_id, partitions = _describe(config)
    registry = Registry(config.registry_url)
    with PriceFeed(config.bootstrap_servers, registry, config.prices_topic) as prices:
        worker = Worker(
            bootstrap_servers=config.bootstrap_servers,
            group_id=config.group_id,
            topic=config.events_topic,
            topic_id=topic_id,
            partitions=partitions,
            state_topic=config.state_topic,
            registry=registry,
            prices=prices,
            state_schema_id=registry.schema_id(load_schema("session_state")),
            policy=config.policy,
        )
        try:
            return asyncio.run(_run(config, worker, registry, topic_id, partitions, announce_ready))
        finally:
            worker.close()
            registry.close()


async def _run(
    config: StreamConfig,
    worker: Worker,
    registry: Registry,
    topic_id: str,
    partitions: int,
    announce_ready: Callable[[], None],
) -> int:
    if not config.budgets:
        return await _Process(config, worker, topic_id, announce_ready).run()
    overseer = Overseer(
        bootstrap_servers=config.bootstrap_servers,
        registry=registry,
        events_topic=config.events_topic,
        partitions=partitions,
        time_of=worker.time_of,
    )
    worker.oversee(overseer)
    try:
        return await _Process(config, worker, topic_id, announce_ready, overseer).run()
    finally:
        await overseer.close()


def _describe(config: StreamConfig) -> tuple[str, int]:
    """Return the topic id and the number of partitions of the events topic."""
    found = Topics(config.bootstrap_servers).describe([config.events_topic, config.state_topic])
    for name in (config.events_topic, config.state_topic):
        if name not in found:
            raise UserError(f"Kafka at {config.bootstrap_servers} has no topic {name}: run `procurator setup`")
    topic_id, partitions = found[config.events_topic]
    if found[config.state_topic][1] != partitions:
        raise UserError(f"{config.state_topic} must have as many partitions as {config.events_topic}: {partitions}")
    return topic_id, partitions


class _AsIs(faust.Schema):  # type: ignore[misc]
    """Messages are not decoded: the transport makes their values."""

    def loads_key(self, app: Any, message: Any, **_: Any) -> Any:
        return message.key

    def loads_value(self, app: Any, message: Any, **_: Any) -> Any:
        return message.value


def build_app(config: StreamConfig, worker: Worker) -> faust.App:
    """Return the app that feeds ``worker`` in batches and commits what it says."""
    config.data_dir.mkdir(parents=True, exist_ok=True)
    app = faust.App(
        config.group_id,
        broker=[f"aiokafka://{server}" for server in config.bootstrap_servers.split(",")],
        datadir=str(config.data_dir),
        autodiscover=False,
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=MESSAGE_BYTES_MAX // 4,
        broker_commit_interval=1.0,
        # A worker that died is missed after this long; the broker's minimum.
        broker_session_timeout=6.0,
        broker_heartbeat_interval=2.0,
        # Memory: at most this many batches of this many records wait to be folded.
        stream_buffer_maxsize=4,
        broker_max_poll_records=2_000,
        stream_wait_empty=False,
    )
    app.transport = Transport(app.conf.broker_consumer, app, worker)
    worker.highwater = lambda partition: app.consumer.highwater(TP(config.events_topic, partition))
    worker.assigned = lambda: [tp.partition for tp in app.consumer.assignment() if tp.topic == config.events_topic]
    return app


class _Process:
    """One run of a worker: the app, the publishing, the watch over the topic, and what ends them."""

    def __init__(
        self,
        config: StreamConfig,
        worker: Worker,
        topic_id: str,
        announce_ready: Callable[[], None],
        overseer: Overseer | None = None,
    ) -> None:
        self._config = config
        self._worker = worker
        self._overseer = overseer
        self._topic_id = topic_id
        self._announce_ready = announce_ready

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        self._signal: asyncio.Future[int] = loop.create_future()
        self._failed: asyncio.Future[None] = loop.create_future()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        app = build_app(self._config, self._worker)
        app.agent(app.topic(self._config.events_topic, schema=_AsIs()))(self._fold)
        app.on_rebalance_complete.connect(self._on_ready, weak=False)
        work = (
            self._start(app),
            self._crash_of(app),
            self._worker.publish_for_ever(),
            self._watch_topic(),
            *((self._overseer.run_for_ever(),) if self._overseer is not None else ()),
        )
        tasks = [asyncio.ensure_future(one) for one in work]
        ends: list[asyncio.Future[Any]] = [self._signal, self._failed, *tasks[1:]]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        ended = [end for end in ends if end.done()]
        await app.stop()
        for task in tasks:
            task.cancel()
        for end in ended:
            if end is not self._signal:
                end.result()  # raises what it failed with
        return 130 if self._signal.result() == signal.SIGINT else 0

    async def _start(self, app: faust.App) -> None:
        if self._overseer is not None:
            await self._overseer.informed.wait()
        await app.start()

    async def _fold(self, batches: AsyncIterator[Batch]) -> None:
        async for batch in batches:
            try:
                await self._worker.process(batch)
            except Exception as error:  # noqa: BLE001 - Faust would go on with the next batch, and lose this one
                if not self._failed.done():
                    self._failed.set_exception(error)
                await asyncio.Event().wait()

    async def _watch_topic(self) -> None:
        """Raise Fatal when the topic is not the one that we started with: offsets begin anew, and so must we."""
        while True:
            await asyncio.sleep(_TOPIC_CHECK_S)
            with suppress(ProcuratorError):
                topic_id, _ = await asyncio.to_thread(_describe, self._config)
                if topic_id != self._topic_id:
                    break
        raise Fatal(f"{self._config.events_topic} was deleted and created anew: start again")

    async def _crash_of(self, app: faust.App) -> None:
        await app._crashed.wait()
        raise Fatal(f"the stream stopped: {app.crash_reason!r}")

    async def _on_ready(self, *_: Any, **__: Any) -> None:
        self._announce_ready()
        if self._overseer is not None:
            self._opening = asyncio.ensure_future(self._open_all())

    async def _open_all(self) -> None:
        try:
            await self._worker.open_all()
        except Exception as error:  # noqa: BLE001 - nobody waits for this task
            if not self._failed.done():
                self._failed.set_exception(error)

    def _on_signal(self, number: int) -> None:
        if not self._signal.done():
            self._signal.set_result(number)
