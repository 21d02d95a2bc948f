"""`procurator stream`: what a worker connects to, and its wiring."""

import asyncio
import gc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from procurator.avro_schemas.codec import load_schema
from procurator.errors import UserError
from procurator.kafka import Topics
from procurator.price_feed import PriceFeed
from procurator.registry import Registry
from procurator.stream_processors.budgets.overseer import Overseer
from procurator.stream_processors.ended_store import Scratch
from procurator.stream_processors.faust_app import build_app
from procurator.stream_processors.partition import PublishPolicy
from procurator.stream_processors.process import Process
from procurator.stream_processors.worker import Worker
from procurator.topics import PRICES, SESSION_EVENTS, SESSION_STATE

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


def run(config: StreamConfig, announce_ready: Callable[[], None], stopping: Callable[[int], None]) -> int:
    """Work until SIGTERM or SIGINT and return the exit code.

    ``stopping(exit_code)`` is called when the signal came or something failed. Should Kafka hang, stopping takes long;
    to exit hard after some seconds is then as good: the next start reads again whatever was not committed.
    Raises UserError when something is not set up, Unavailable when a neighbour is away at the start, Fatal when
    another worker has taken a partition over or the topic was recreated: then start anew.
    """
    gc.set_threshold(*_GC_THRESHOLD)
    topics = Topics(config.bootstrap_servers)
    topic_id, partitions = _describe(topics, config)
    registry = Registry(config.registry_url)
    with (
        PriceFeed(config.bootstrap_servers, registry, config.prices_topic) as prices,
        Scratch(config.data_dir / "ended") as scratch,
    ):
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
            folder=scratch.path,
        )

        async def work() -> int:
            overseer = _oversee(config, worker, registry, partitions) if config.budgets else None
            app = build_app(config.bootstrap_servers, config.group_id, config.data_dir, worker)
            process = Process(app, worker, lambda: _describe(topics, config)[0], announce_ready, stopping, overseer)
            try:
                return await process.run()
            finally:
                if overseer is not None:
                    await overseer.close()

        try:
            return asyncio.run(work())
        finally:
            worker.close()
            registry.close()


def _oversee(config: StreamConfig, worker: Worker, registry: Registry, partitions: int) -> Overseer:
    overseer = Overseer(
        bootstrap_servers=config.bootstrap_servers,
        registry=registry,
        events_topic=config.events_topic,
        partitions=partitions,
        time_of=worker.time_of,
    )
    worker.oversee(overseer)
    return overseer


def _describe(topics: Topics, config: StreamConfig) -> tuple[str, int]:
    """Return the topic id and the number of partitions of the events topic."""
    found = topics.describe([config.events_topic, config.state_topic])
    for name in (config.events_topic, config.state_topic):
        if name not in found:
            raise UserError(f"Kafka at {config.bootstrap_servers} has no topic {name}: run `procurator setup`")
    topic_id, partitions = found[config.events_topic]
    if found[config.state_topic][1] != partitions:
        raise UserError(f"{config.state_topic} must have as many partitions as {config.events_topic}: {partitions}")
    return topic_id, partitions
