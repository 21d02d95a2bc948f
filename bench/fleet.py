"""A fleet as a load: processes that publish made-up events at a steady pace, or as fast as Kafka takes them.

Each makes and encodes all its events before any of them begins, so that making events up takes nothing from the
machine while it is measured. Memory: what the events weigh, some 1.2 kB each.
"""

import multiprocessing
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Producer

from procurator.avro_schemas.codec import load_schema
from procurator.bench import corpus
from procurator.errors import Unavailable
from procurator.kafka import producer_config
from procurator.registry import Registry
from procurator.topics import SESSION_EVENTS

#: How many events are published at once where there is a pace: small enough to be no wave, large enough to be cheap.
_BURST_S = 0.01
_FULL_S = 0.05


@dataclass(frozen=True)
class Load:
    """What a fleet publishes in all: ``count`` events of ``sessions`` at a time, ``rate`` a second (None: no pace)."""

    kafka: str
    registry: str
    count: int
    rate: float | None = None
    sessions: int = 1_000
    processes: int = 1
    seed: int = 0

    def share(self, number: int) -> "Load":
        """Return what the process ``number`` publishes; each draws events of its own."""
        n = self.processes
        return Load(
            self.kafka,
            self.registry,
            self.count // n + (number < self.count % n),
            self.rate and self.rate / n,
            max(1, self.sessions // n),
            seed=self.seed * 1_000 + number,
        )


class Fleet:
    """``with Fleet(load) as fleet: fleet.start(); …; fleet.confirmed()``. Entering waits until all events are made."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._processes: list[Any] = []
        self._ends: list[Connection] = []

    def __enter__(self) -> Self:
        # Spawned, not forked: librdkafka's threads do not survive a fork.
        context = multiprocessing.get_context("spawn")
        for number in range(self._load.processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(self._load.share(number), theirs), daemon=True)
            process.start()
            theirs.close()
            self._processes.append(process)
            self._ends.append(ours)
        self._answers()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process, end in zip(self._processes, self._ends, strict=True):
            end.close()
            process.terminate()
            process.join()

    def start(self) -> None:
        """Let all processes begin."""
        for end in self._ends:
            end.send(None)

    def confirmed(self) -> float:
        """Wait until Kafka has confirmed every event; return the events per second that were reached."""
        return self._load.count / max(self._answers())

    def _answers(self) -> list[float]:
        try:
            return [end.recv() for end in self._ends]
        except EOFError as error:
            raise Unavailable("a producing process ended before its time") from error


def _serve(load: Load, end: Connection) -> None:
    """Make the events, say so, wait for the word, publish them, and say how many seconds that took."""
    with closing(Registry(load.registry)) as registry:
        schema_id = registry.schema_id(load_schema(SESSION_EVENTS.schema))
    events = corpus.stream(load.count, seed=load.seed, sessions_at_once=load.sessions)
    records = [(event.session_id, corpus.encode(event, schema_id)) for event in events]
    producer = Producer(producer_config(load.kafka))
    producer.list_topics(SESSION_EVENTS.name)
    end.send(0.0)
    end.recv()
    end.send(_publish(producer, records, load.rate))


def _publish(producer: Producer, records: Sequence[tuple[str, bytes]], rate: float | None) -> float:
    burst = max(1, round((rate or 0) * _BURST_S)) if rate else 1_000
    begin = time.perf_counter()
    for first in range(0, len(records), burst):
        if rate:
            time.sleep(max(0.0, first / rate - (time.perf_counter() - begin)))
        for key, value in records[first : first + burst]:
            while not _took(producer, key, value):
                producer.poll(_FULL_S)
        producer.poll(0)
    producer.flush()
    return time.perf_counter() - begin


def _took(producer: Producer, key: str, value: bytes) -> bool:
    try:
        producer.produce(SESSION_EVENTS.name, value, key)
    except BufferError:
        return False
    return True
