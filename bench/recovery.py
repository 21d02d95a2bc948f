"""``procurator bench recovery``: how soon a worker goes on whose state topic holds a million sessions, and its memory.

A Kafka and a registry of their own. States as the stream processors publish them, of sessions from the traces, under
new ids, are written to the state topic; then a worker starts, and the clock runs until it has published the state of a
session that waited in the events topic: until processing goes on. Three times: with nothing to recover, with the open
sessions alone, so that what they take in memory is the difference, and with all. There is no peer: recovery belongs to
how a product keeps its state.
"""

import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from confluent_kafka import Producer

from procurator import events, topics
from procurator.avro_schemas.codec import HEADER, Decoder, load_schema
from procurator.bench import corpus
from procurator.bench.machine import memory_mib
from procurator.deploy.embedded.layout import Ports
from procurator.deploy.embedded.stack import Stack, StackConfig
from procurator.errors import Fatal
from procurator.kafka import Topics, producer_config
from procurator.leaf import log_id
from procurator.partitioner import partition_of
from procurator.registry import Registry
from procurator.session_state import SessionState

PARTITIONS = 4
OPEN_SHARE = 10
_TEMPLATES = 500
_TIMEOUT_S = 900.0
_POLL_S = 0.05
#: Where the two first fields of an encoded state stand: lengths of one byte, then the texts.
_SESSION_AT = HEADER.size + 1
_LOG_AT = _SESSION_AT + 36 + 1


def run(sessions: int = 1_000_000) -> dict[str, Any]:
    """Return how long a worker takes to go on after ``sessions`` states, a tenth of them open, and its memory."""
    with _bench() as bench:
        open_sessions = sessions // OPEN_SHARE
        empty_mib, open_mib, open_bytes = bench.open_sessions(open_sessions)
        ended_bytes = bench.publish(sessions - open_sessions, is_open=False)
        seconds, peak_mib, all_mib = bench.recover()
        return {
            "events_per_s": round(sessions / seconds),
            "sessions": sessions,
            "open_sessions": open_sessions,
            "seconds_until_processing": round(seconds, 1),
            "resident_mib": round(all_mib),
            "peak_resident_mib": round(peak_mib),
            "resident_mib_without_sessions": round(empty_mib),
            "mib_per_100000_open_sessions": round((open_mib - empty_mib) * 100_000 / open_sessions),
            "bytes_per_state": {"ended": round(ended_bytes), "open": round(open_bytes)},
        }


def memory_of_open_sessions(sessions: int = 100_000) -> float:
    """Return the memory in MiB that so many open sessions take of a worker, budgets included."""
    with _bench() as bench:
        empty_mib, open_mib, _ = bench.open_sessions(sessions)
        return open_mib - empty_mib


@contextmanager
def _bench() -> "Iterator[_Bench]":
    with tempfile.TemporaryDirectory(prefix="procurator-bench-") as folder:
        only = frozenset({"kafka", "registry"})
        with Stack(StackConfig(Path(folder) / "stack", Ports.free(), only)) as stack:
            yield _Bench(stack, Path(folder))


class _Bench:
    def __init__(self, stack: Stack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder
        self._random = Random(0)
        registry = Registry(stack.registry_url)
        cluster = Topics(stack.kafka)
        cluster.ensure(topics.TOPICS, PARTITIONS, 1)
        schema_ids = {topic.schema: registry.register(load_schema(topic.schema)) for topic in topics.TOPICS}
        self._event_schema_id, self._state_schema_id = schema_ids["session_event"], schema_ids["session_state"]
        topic_id, _ = cluster.describe([topics.SESSION_EVENTS.name])[topics.SESSION_EVENTS.name]
        self._logs = [log_id(topic_id, partition).encode() for partition in range(PARTITIONS)]
        self._producer = Producer(producer_config(stack.kafka, **{"queue.buffering.max.messages": 1_000_000}))

    def open_sessions(self, count: int) -> tuple[float, float, float]:
        """Return a worker's memory in MiB without sessions and with ``count`` open ones, and the bytes of a state."""
        _, _, empty_mib = self.recover()
        bytes_of_one = self.publish(count, is_open=True)
        _, _, open_mib = self.recover()
        return empty_mib, open_mib, bytes_of_one

    def publish(self, count: int, *, is_open: bool) -> float:
        """Write states of ``count`` sessions to the state topic; return how many bytes one has."""
        templates = [
            load_schema("session_state").encode(state.to_record(self._logs[0].decode()), self._state_schema_id)
            for state in _states(is_open=is_open)
        ]
        size = 0
        for number in range(count):
            session_id = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
            partition = partition_of(session_id, PARTITIONS)
            value = bytearray(templates[number % len(templates)])
            value[_SESSION_AT : _SESSION_AT + 36] = session_id.encode()
            value[_LOG_AT : _LOG_AT + len(self._logs[partition])] = self._logs[partition]
            size += len(value)
            self._produce(topics.SESSION_STATE.name, session_id, bytes(value), partition)
        self._flush()
        return size / count

    def recover(self) -> tuple[float, float, float]:
        """Start a worker; return seconds until it goes on, and its memory in MiB: the most, and then."""
        [first] = list(corpus.stream(1, seed=self._random.randrange(2**30)))
        self._produce(topics.SESSION_EVENTS.name, first.session_id, corpus.encode(first, self._event_schema_id), None)
        self._flush()
        env = self._stack.env("stream") | {"PROCURATOR_DATA_DIR": str(self._folder)}
        began_s = time.monotonic()
        with (self._folder / "worker.log").open("ab") as log:
            worker = subprocess.Popen([sys.executable, "-m", "procurator", "stream"], env=env, stdout=log, stderr=log)
        try:
            self._await_state(first.session_id, worker)
            return time.monotonic() - began_s, *memory_mib(worker.pid)
        finally:
            worker.terminate()
            worker.wait(30)

    def _await_state(self, session_id: str, worker: "subprocess.Popen[bytes]") -> None:
        """Wait for the session's state at the end of its partition: nothing else is published meanwhile."""
        cluster, place = Topics(self._stack.kafka), (topics.SESSION_STATE.name, partition_of(session_id, PARTITIONS))
        before, until_s = cluster.bounds([place])[place], time.monotonic() + _TIMEOUT_S
        while cluster.bounds([place])[place] == before:
            if worker.poll() is not None or time.monotonic() > until_s:
                raise Fatal(f"the worker did not go on: {(self._folder / 'worker.log').read_text()[-2000:]}")
            time.sleep(_POLL_S)

    def _produce(self, topic: str, key: str, value: bytes, partition: int | None) -> None:
        options = {} if partition is None else {"partition": partition}
        while True:
            try:
                self._producer.produce(topic, value, key, **options)
                self._producer.poll(0)
                return
            except BufferError:
                self._producer.poll(0.1)

    def _flush(self) -> None:
        if left := self._producer.flush(_TIMEOUT_S):
            raise Fatal(f"{left} records were not delivered")


def _states(*, is_open: bool) -> Iterator[SessionState]:
    """Yield states of sessions from the traces: folded to their end, or to a moment before it."""
    random = Random(1)
    found: dict[str, list[Any]] = {}
    for made in corpus.stream(_TEMPLATES * 60, seed=1, sessions_at_once=1):
        found.setdefault(made.session_id, []).append(made)
    decoder = Decoder(load_schema("session_event"), lambda _: load_schema("session_event").text)
    for session_id, of_session in list(found.items())[:-1][:_TEMPLATES]:
        state = SessionState(session_id)
        for number, each in enumerate(of_session[: random.randrange(1, len(of_session)) if is_open else None]):
            event = events.parse(decoder, corpus.encode(each, 1))
            if event["payload"][0] == events.SESSION_STARTED:
                event["payload"][1]["timeout_s"] = None  # they were started long ago: nobody is to be stopped here
            state.apply(event, offset=number, broker_time_us=corpus.START_US)
        yield state
