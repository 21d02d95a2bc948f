"""IO: the sink's loop, from ledgered topics into the ledger.

The consumer group only deals out partitions. Where to read on is said by the ledger (`procurator.sink.ledger`), never
by committed offsets, which are written for lag monitors alone. Whatever goes wrong has one way back: drop what is in
memory, read the heads again, go on from there.
"""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass
from math import inf
from time import monotonic

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, KafkaError, Message, TopicPartition

from procurator import metrics
from procurator.errors import Fatal, ProcuratorError, Unavailable
from procurator.kafka import Bounds, Place, Topics
from procurator.leaf import log_id
from procurator.runtime import Stop
from procurator.sink.batching import BatchPolicy
from procurator.sink.blocks import Projection
from procurator.sink.inserter import HeadMoved, Inserter, TopicRecreated
from procurator.sink.lane import Lane
from procurator.sink.ledger import Log
from procurator.sink.opening import Opening, open_logs
from procurator.sink.positions import show_position
from procurator.sink.records import Records
from procurator.sink.store import LedgerStore
from procurator.sink.waiting import forget_waiting, tell_waiting, tell_waiting_during_outage

_log = logging.getLogger(__name__)

_FETCH_MAX = 10_000
_FETCH_S = 0.05
_STOP_S = 3.0
#: What librdkafka reports when the position is not in the log any more, or the log is another.
_POSITION_LOST = frozenset(
    {
        KafkaError._AUTO_OFFSET_RESET,
        KafkaError.OFFSET_OUT_OF_RANGE,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.UNKNOWN_TOPIC_ID,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
    }
)


@dataclass(frozen=True)
class Source:
    """A ledgered topic: where its entries go, and what projects one of its logs from its head on."""

    topic: str
    store: LedgerStore
    projection: Callable[[Log], Projection]


@dataclass(frozen=True)
class PausePolicy:
    """How long to wait before asking a neighbour again that was away: doubling from min to max."""

    s_min: float = 0.2
    s_max: float = 5.0


_BATCH_POLICY = BatchPolicy()
_PAUSE_POLICY = PausePolicy()


class Worker:
    """Serves the partitions that the group gives this process, until told to stop."""

    def __init__(
        self,
        consumer: Consumer,
        topics: Topics,
        sources: Mapping[str, Source],
        inserter: Inserter,
        stop: Stop,
        batch_policy: BatchPolicy = _BATCH_POLICY,
        pause_policy: PausePolicy = _PAUSE_POLICY,
    ) -> None:
        self._consumer = consumer
        self._topics = topics
        self._sources = sources
        self._inserter = inserter
        self._stop = stop
        self._batch_policy = batch_policy
        self._pause_policy = pause_policy
        self._pause_s = pause_policy.s_min
        #: None until the group has dealt.
        self._assigned: list[TopicPartition] | None = None
        self._must_open = False
        self._lanes: dict[tuple[str, int], Lane] = {}
        for topic in sources:
            metrics.LOST_OFFSETS.labels(topic)

    def run(self, ready: Callable[[], None]) -> None:
        """Work until the stop is set; ``ready`` is called once the first partitions are open.

        Raises Fatal or UserError when going on would do harm or cannot help.
        """
        self._consumer.subscribe(list(self._sources), on_assign=self._on_assign, on_revoke=self._on_revoke)
        try:
            while not self._stop.is_set():
                try:
                    if self._must_open:
                        self._open()
                        ready()
                    self._step()
                except (HeadMoved, TopicRecreated, Unavailable) as reason:
                    metrics.OUTAGES.inc()
                    _log.warning("%s; reading the heads again in %.1f s", reason, self._pause_s)
                    self._reset()
                    self._sit_out()
            self._finish()
        finally:
            self._consumer.close()

    # A block: insert, read back, send pointers, write the head's row (Inserter.commit); then commit to Kafka. Dying
    # before the insert repeats the fetch. Dying after it, the ledger's head says so: only pointers are sent twice.
    def _step(self) -> None:
        if self._is_full():
            wait([lane.working for lane in self._lanes.values() if lane.working], _FETCH_S, FIRST_COMPLETED)
        else:
            self._collect(self._consumer.consume(_FETCH_MAX, _FETCH_S))
        for lane in self._lanes.values():
            self._advance(lane)
        busy = sorted(
            (lane for lane in self._lanes.values() if lane.batch.rows), key=lambda lane: lane.batch.started_at_s or 0.0
        )
        spent_s = sum(lane.spent_s for lane in busy)
        for lane in busy:
            if self._may_prepare() and lane.is_due(self._batch_policy, monotonic(), spent_s):
                lane.prepare(self._batch_policy)
                lane.submit()

    def _advance(self, lane: Lane) -> None:
        settled, reached = lane.reading.settled_offset, lane.reading.head.next_offset
        if lane.finish():
            self._pause_s = self._pause_policy.s_min
            self._count(lane, reached)
        if settled != lane.reading.settled_offset:
            position = TopicPartition(lane.log.topic, lane.log.partition, lane.reading.settled_offset)
            show_position(self._consumer, [position])
        lane.submit()
        lane.settle(monotonic())

    def _count(self, lane: Lane, since_offset: int) -> None:
        """Count a block that has landed, and what Kafka has beyond it as far as the last fetch told."""
        log, reached = lane.log, lane.reading.head.next_offset
        metrics.count_batch(log.topic, reached - since_offset)
        _low, high = self._consumer.get_watermark_offsets(TopicPartition(log.topic, log.partition), cached=True)
        tell_waiting(log.topic, log.partition, reached, high)

    def _may_prepare(self) -> bool:
        return sum(lane.blocks for lane in self._lanes.values()) < self._batch_policy.blocks_max

    def _is_full(self) -> bool:
        rows = sum(lane.batch.rows for lane in self._lanes.values())
        size_bytes = sum(lane.batch.bytes for lane in self._lanes.values())
        return rows >= self._batch_policy.waiting_rows_max or size_bytes >= self._batch_policy.waiting_bytes_max

    def _collect(self, messages: list[Message]) -> None:
        fetched: dict[tuple[str, int], Records] = {}
        for message in messages:
            if (error := message.error()) is not None:
                self._judge(error)
                continue
            source = (message.topic(), message.partition())
            records = fetched.get(source)
            if records is None:
                records = fetched[source] = Records()
            kind, time_ms = message.timestamp()
            if kind != TIMESTAMP_LOG_APPEND_TIME:
                raise Fatal(f"topic {message.topic()}: message.timestamp.type must be LogAppendTime")
            records.append(message.offset(), time_ms * 1000, message.key(), message.value())
        for source, records in fetched.items():
            if source in self._lanes:
                self._lanes[source].add(records, monotonic())

    def _judge(self, error: KafkaError) -> None:
        if error.code() in _POSITION_LOST:
            raise HeadMoved(f"Kafka: {error.str()}")
        _log.warning("Kafka: %s", error.str())

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._assigned = partitions
        self._must_open = True
        consumer.assign([])  # nothing is fetched before the ledger has said from where

    def _on_revoke(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Blocks under way may still land; whoever gets the partitions finds them there, or is found there by them.
        self._lanes.clear()
        self._assigned = None
        self._must_open = False
        forget_waiting(partitions)

    def _open(self) -> None:
        openings = self._openings()
        readings = open_logs(openings, self._inserter, self._bounds, self._stop.wait)
        self._lanes = {
            (log.topic, log.partition): Lane(log, self._sources[log.topic].projection(log), self._inserter, reading)
            for (log, _), reading in zip(openings, readings, strict=True)
        }
        self._must_open = False
        positions = [TopicPartition(*source, lane.reading.head.next_offset) for source, lane in self._lanes.items()]
        bounds = self._bounds()
        for at in positions:
            tell_waiting(at.topic, at.partition, at.offset, bounds[at.topic, at.partition][1])
        self._consumer.assign(positions)
        _log.info("reading on at %s", ", ".join(f"{p.topic}[{p.partition}]@{p.offset}" for p in positions) or "nothing")

    def _openings(self) -> list[Opening]:
        described = self._topics.describe(self._sources)
        openings = []
        for assigned in self._assigned or ():
            if assigned.topic not in described:
                raise Unavailable(f"topic {assigned.topic} is gone: run `procurator setup`")
            topic_id, partitions = described[assigned.topic]
            log = Log(assigned.topic, assigned.partition, log_id(topic_id, assigned.partition), partitions)
            openings.append(Opening(log, self._sources[log.topic].store))
        return openings

    def _bounds(self) -> dict[Place, Bounds]:
        return self._topics.bounds((at.topic, at.partition) for at in self._assigned or ())

    def _reset(self) -> None:
        self._lanes.clear()
        self._consumer.assign([])
        self._must_open = self._assigned is not None

    def _sit_out(self) -> None:
        """Wait a while, polling: nothing is fetched, and the group keeps us."""
        until_s = monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, self._pause_policy.s_max)
        if self._assigned:
            tell_waiting_during_outage(self._consumer, self._assigned, self._bounds)
        while not self._stop.is_set() and (left_s := until_s - monotonic()) > 0:
            self._consumer.consume(1, min(left_s, 0.2))

    def _finish(self) -> None:
        """Let blocks under way land, within the time a stop may take; what does not is fetched again next time."""
        until_s = monotonic() + _STOP_S
        lanes = list(self._lanes.values())
        while lanes and monotonic() < until_s:
            for lane in lanes:
                try:
                    lane.finish()
                except ProcuratorError as reason:
                    _log.warning("while stopping: %s", reason)
                lane.settle(inf)
            lanes = [lane for lane in lanes if lane.working]
            wait([lane.working for lane in lanes if lane.working], _FETCH_S)
