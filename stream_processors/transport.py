"""Faust's transport with two things changed: records come in bulk, and offsets are committed by what is published.

Faust spends two tasks and a dozen awaits on a message. Here the records of one partition that were fetched together
make one message, whose value is the list of records and whose offset is the last one's.

Faust commits an offset once a stream is done with the message; that its outputs were delivered is hoped for (its
producer's flush gives up after 0.1 s, and the outcome of a delivery is not looked at). Here `Positions` says what may
be committed, and Faust's own bookkeeping of acknowledged messages is not used.
"""

from collections.abc import Iterable, Iterator, Mapping
from math import inf
from time import monotonic
from typing import Any, NamedTuple, Protocol

from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode.utils.futures import notify

from procurator.stream_processors.partition import Record

_FULL_S = 0.005
_IDLE_AFTER_S = 0.5


class Fetching(NamedTuple):
    """How soon the broker answers a fetch: when it has so much, or after so long.

    It has one fetch of ours at a time, of those partitions whose records were all taken: what comes to another
    meanwhile waits for it. So each is short; and not answered for every few records, or at some hundred events a
    second fetching would take more of Kafka and of us than all else does. While nothing comes all are in the fetch.
    """

    max_wait_ms: int
    min_bytes: int


BUSY = Fetching(20, 65_536)
IDLE = Fetching(200, 1)


class Batch(NamedTuple):
    """Records of one partition in order. ``follows``: what the offset after the batch before it was, if known.

    ``received_s`` is when they were here, by the monotonic clock.
    """

    partition: int
    records: list[Record]
    follows: int | None
    received_s: float = inf


class Positions(Protocol):
    """Who knows what may be committed."""

    topic: str

    def committable(self) -> dict[int, int]:
        """Return the offset that may be committed, by partition of `topic`."""

    async def flush(self) -> None:
        """Publish what is not published, or give up soon; called before partitions are lost."""

    def release(self, partitions: Iterable[int]) -> None:
        """Forget partitions that are lost; what is left of them to be folded is another's until `grant`."""

    def grant(self) -> None:
        """The group has given out its partitions."""


class _ConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    logger = driver.logger

    def _create_worker_consumer(self, transport: "Transport") -> Any:
        """Return the consumer; Faust's lets a fetch of partitions that are silent hold up the others for 1.5 s."""
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms, consumer._fetch_min_bytes = BUSY
        return consumer

    def fetch(self, how: Fetching) -> None:
        """Fetch so from the next time on; nothing while the consumer is not running."""
        if self._consumer is not None and (fetcher := self._consumer._fetcher) is not None:
            fetcher._fetch_max_wait_ms, fetcher._fetch_min_bytes = how

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit; when Kafka is away say so and go on: the next commit says more. Faust would crash the worker."""
        assigned = {driver.ensure_aiokafka_TP(tp): offset for tp, offset in offsets.items() if tp in self.assignment()}
        try:
            await self._ensure_consumer().commit(assigned)
        except KafkaError as error:
            self.log.warning("offsets were not committed, the next commit will: %s", error)
            return False
        return True


class Consumer(driver.Consumer):  # type: ignore[misc]
    """The consumer of a worker that has one source topic."""

    transport: "Transport"
    logger = driver.logger

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ends: dict[TP, int] = {}

    def _new_consumer_thread(self) -> _ConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def _wait_next_records(self, timeout: float) -> tuple[Any, Any]:  # noqa: ASYNC109 - Faust's signature
        if self.flow_active and not self._get_active_partitions():
            # Every partition has batches waiting to be folded. Faust would look again after a whole second.
            await self.sleep(_FULL_S)
            return {}, set()
        waiting = bool(self._buffered_partitions)
        # Where some partition does, what was fetched of it holds up the fetching of all until it is asked for again.
        fetched, active = await super()._wait_next_records(_FULL_S if waiting else min(timeout, _IDLE_AFTER_S))
        self._thread.fetch(BUSY if waiting or fetched else IDLE)
        if not fetched:
            return fetched, active
        return {tp: [self._coalesce(tp, records)] for tp, records in fetched.items() if records}, active

    def _coalesce(self, tp: TP, records: list[Any]) -> ConsumerRecord[Any, Any]:
        last = records[-1]
        batch = Batch(tp.partition, records, self._ends.get(tp), monotonic())
        self._ends[tp] = last.offset + 1
        return ConsumerRecord(
            topic=tp.topic,
            partition=tp.partition,
            offset=last.offset,
            timestamp=last.timestamp,
            timestamp_type=last.timestamp_type,
            key=None,
            value=batch,
            checksum=None,
            serialized_key_size=0,
            serialized_value_size=0,
            headers=(),
        )

    async def perform_seek(self) -> None:
        self._ends.clear()
        await super().perform_seek()

    def ack(self, message: Any) -> bool:
        """A stream is done with the message; that is not yet a reason to commit."""
        if message.acked:
            return False
        message.acked = True
        self._unacked_messages.discard(message)
        notify(self._waiting_for_ack)
        return True

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Holes between offsets need no book: `committable` steps over them."""

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        positions = self.transport.positions
        return (TP(positions.topic, partition) for partition in positions.committable())

    def _filter_committable_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:
        committable = self.transport.positions.committable()
        offsets = {tp: committable[tp.partition] for tp in tps if tp.partition in committable}
        return {tp: offset for tp, offset in offsets.items() if self._should_commit(tp, offset)}

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:
        """Commit. Unlike Faust's, take a commit that failed for one that is still to be done (faust-streaming #316)."""
        if not offsets or not await self._commit(offsets):
            return False
        self._committed_offset.update(offsets)
        return True

    async def commit_and_end_transactions(self) -> None:
        """Called before partitions are lost: by a rebalance, or because the worker stops."""
        await self.transport.positions.flush()
        await super().commit_and_end_transactions()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        self.transport.positions.grant()
        await super().on_partitions_assigned(assigned, generation_id)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        await super().on_partitions_revoked(revoked)
        self._ends.clear()
        self.transport.positions.release({tp.partition for tp in revoked})


class Transport(driver.Transport):  # type: ignore[misc]
    """Faust's aiokafka transport with our consumer."""

    Consumer = Consumer

    def __init__(self, url: Any, app: Any, positions: Positions) -> None:
        super().__init__(url, app)
        self.positions = positions
