"""The worker: folds what Faust delivers, publishes states, says what may be committed.

Crash order. Fold, then publish (one transaction a partition), then commit the offsets. Dying after fold loses nothing
that was shown; dying after publish repeats records, which the recovered states skip by their `as_of_offset`.
"""

import asyncio
import logging
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import monotonic

from procurator import clock
from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.avro_schemas.encoder import Encoder
from procurator.errors import Fatal, Unavailable
from procurator.leaf import log_id
from procurator.price_feed import PriceFeed
from procurator.registry import Registry
from procurator.stream_processors.budgets.overseer import Overseer
from procurator.stream_processors.ended_store import EndedStore
from procurator.stream_processors.owned import Owned
from procurator.stream_processors.partition import Log, PublishPolicy, SessionPartition, StateCodec
from procurator.stream_processors.restore import Restored, Restoring
from procurator.stream_processors.schema_cache import SchemaCache, SchemaWanted
from procurator.stream_processors.state_log import StateLog
from procurator.stream_processors.transport import Batch

_log = logging.getLogger(__name__)

_RETRY_S = 0.5
_FLUSH_S = 3.0
#: Without a record for so long, nothing is taken to be on its way.
_QUIET_S = 3.0


class Worker:
    """The partitions of one worker process. Every method belongs to the event loop's thread.

    ``assigned()`` are the partitions that the group gave us; ``topic`` is where events come from. ``folder`` is this
    process's own, for what it puts away.
    """

    def __init__(
        self,
        *,
        bootstrap_servers: str,
        group_id: str,
        topic: str,
        topic_id: str,
        partitions: int,
        state_topic: str,
        registry: Registry,
        prices: PriceFeed,
        state_schema_id: int,
        folder: Path,
        policy: PublishPolicy = PublishPolicy(),  # noqa: B008 - frozen
    ) -> None:
        self.topic = topic
        self.policy = policy
        self._bootstrap_servers = bootstrap_servers
        self._group_id = group_id
        self.topic_id = topic_id
        self.partitions = partitions
        self._registry = registry
        self._state_topic = state_topic
        self._folder = folder
        self._prices = prices
        self._schemas = SchemaCache(registry)
        self._event_decoder = Decoder(load_schema("session_event"), self._schemas.get)
        schema = load_schema("session_state")
        # States are decoded rarely, and ours are of one or two schemas: the registry may be asked directly.
        self._codec = StateCodec(Encoder(schema, state_schema_id), Decoder(schema, registry.fetch))
        self._owned: dict[int, Owned] = {}
        self._opening: set[StateLog] = set()
        #: Whether what `assigned` says is true: until the group has given out its partitions anew it says what was.
        self._granted = True
        self._overseer: Overseer | None = None
        self._interval_s = policy.interval_s
        self._encoding_s = 0.0
        self._urgent = asyncio.Event()
        self._publishing = asyncio.Lock()
        self._taking_over = asyncio.Lock()
        self._threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="state-log")
        self.assigned: Callable[[], Iterable[int]] = tuple
        self.highwater: Callable[[int], int | None] = lambda partition: None

    def oversee(self, overseer: Overseer) -> None:
        """Keep budgets and endings too; before the first partition is opened."""
        self._overseer = overseer

    def time_of(self, partition: int) -> int:
        """Return the time (µs) up to which the partition's records have been folded; 0 when it is not ours.

        That is now when nothing is left to fold, else the broker time of the last record folded.
        """
        owned = self._owned.get(partition)
        if owned is None:
            return 0
        end = self.highwater(partition)
        if (end is not None and owned.sessions.position >= end) or monotonic() - owned.folded_s > _QUIET_S:
            return clock.now_us()
        return owned.broker_time_us

    def committable(self) -> dict[int, int]:
        """Return the offset that may be committed, by partition."""
        offsets = ((partition, owned.sessions.committable) for partition, owned in self._owned.items())
        return {partition: offset for partition, offset in offsets if offset is not None}

    async def process(self, batch: Batch) -> None:
        """Fold a batch; waits while the registry, the prices or Kafka are away. Raises Fatal when records are missing.

        Returns without having folded it when the partition is lost meanwhile: whoever has it gets the records.
        """
        owned = await self._own(batch.partition)
        if owned is None:
            return
        sessions = owned.sessions
        if batch.follows is not None and sessions.position >= 0 and batch.follows > sessions.position:
            raise Fatal(f"{sessions.log.log_id}: records {sessions.position} to {batch.follows} were not delivered")
        if self._overseer is not None:
            try:
                await self._overseer.know_budgets(batch.received_s)
            except Unavailable:
                return  # the worker stops
        while self._owned.get(batch.partition) is owned:
            try:
                sessions.fold(batch.records, self._prices.book)
                break
            except Unavailable as error:
                await self._mend(error)
        else:
            return
        owned.folded(batch, self.highwater(batch.partition))
        if self._overseer is not None:
            self._overseer.wake(owned.broker_time_us)
        if sessions.urgent:
            self._urgent.set()

    async def publish_for_ever(self) -> None:
        """Publish what is due, until cancelled."""
        swept_s = monotonic()
        published_in_s = 0.0
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._urgent.wait(), self.policy.interval_s)
                await asyncio.sleep(self.policy.urgent_after(published_in_s))
            self._urgent.clear()
            began_s = monotonic()
            await self._publish(everything=False)
            published_in_s = monotonic() - began_s
            if monotonic() - swept_s >= self._interval_s:
                # All that was due in the meantime has been published once.
                swept_s = monotonic()
                self._interval_s, self._encoding_s = self.policy.interval_after(self._encoding_s), 0.0

    async def flush(self) -> None:
        """Publish everything, or give up after some seconds: what is not published is not committed either."""
        try:
            await asyncio.wait_for(self._publish(everything=True), _FLUSH_S)
        except TimeoutError:
            _log.warning("states could not be published in %s s; their records will be read again", _FLUSH_S)

    def grant(self) -> None:
        """The group has given out its partitions: `assigned` tells which are ours."""
        self._granted = True

    def release(self, partitions: Iterable[int]) -> None:
        """Forget partitions that are lost; what runs for them ends, and none is opened before `grant`.

        A batch of theirs may still come. To open a partition for it would fence whoever has it now.
        """
        self._granted = False
        for state_log in self._opening:
            state_log.close()
        for partition in partitions:
            owned = self._owned.pop(partition, None)
            if owned is not None:
                owned.close()
                if self._overseer is not None:
                    self._overseer.released(partition)

    def close(self) -> None:
        """Forget all partitions and end the threads."""
        self.release(list(self._owned))
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _publish(self, *, everything: bool) -> None:
        async with self._publishing:
            await asyncio.gather(*(self._publish_one(owned, everything) for owned in list(self._owned.values())))

    async def _publish_one(self, owned: Owned, everything: bool) -> None:
        owned.sessions.interval_s = self._interval_s
        started_s = monotonic()
        publication = owned.sessions.take(started_s, everything=everything)
        self._encoding_s += monotonic() - started_s
        if publication is None:
            return
        counters = [] if self._overseer is None else self._overseer.encode(publication.counters)
        loop = asyncio.get_running_loop()
        publish = partial(owned.state_log.publish, publication.states, counters)
        try:
            await asyncio.shield(loop.run_in_executor(self._threads, publish))
        except Unavailable:
            return  # the partition was released meanwhile
        owned.sessions.published()

    async def open_all(self) -> None:
        """Open the partitions that are ours and not open yet: their sessions may be due to end without a record."""
        async with self._taking_over:
            await asyncio.gather(*(self._open(other) for other in self._ours() if other not in self._owned))

    def _ours(self) -> list[int]:
        return list(self.assigned()) if self._granted else []

    async def _own(self, partition: int) -> Owned | None:
        """Return the partition; None when it is not ours. The first call after a rebalance opens all that are."""
        if partition not in self._owned:
            await self.open_all()
        return self._owned.get(partition)

    async def _open(self, partition: int) -> None:
        state_log = StateLog(self._bootstrap_servers, self._group_id, self._state_topic, partition)
        log = Log(log_id(self.topic_id, partition), partition, self.partitions)
        self._opening.add(state_log)
        started_s = monotonic()
        ended = EndedStore(Path(tempfile.mkdtemp(prefix=f"{partition}-", dir=self._folder)))
        restoring = Restoring(log.log_id, self._registry.fetch, ended)
        try:
            restore = partial(self._restore, partition, state_log, restoring)
            found = await asyncio.get_running_loop().run_in_executor(self._threads, restore)
        except Unavailable:
            ended.close()
            return  # released meanwhile
        finally:
            self._opening.discard(state_log)
        if partition not in self._ours():
            state_log.close()
            ended.close()
            return
        observer = None if self._overseer is None else self._overseer.opened(log, found)
        table, decoder = restoring.open, self._event_decoder
        sessions = SessionPartition(log, table, self._codec, decoder, self.policy, observer, ended)
        self._owned[partition] = Owned(self.topic, sessions, state_log, ended, observer)
        restored = f"{restoring.records} states restored in {monotonic() - started_s:.1f} s, {len(table)} sessions open"
        _log.info("partition %s: %s", partition, restored)

    def _restore(self, partition: int, state_log: StateLog, restoring: Restoring) -> Restored:
        """Fence out the former owner, then learn all it knew: its states and counters, and the budgets it had read.

        Blocking. Raises Unavailable when the partition is released meanwhile.
        """
        state_log.open(restoring.take)
        if self._overseer is None:
            return Restored([], -1, [])
        self._overseer.catch_up()
        return restoring.finish(partition, self._codec.decoder, self._overseer.decode(state_log.counters()))

    async def _mend(self, reason: Unavailable) -> None:
        """Fetch the schema that is wanted, or else wait: whatever is away may be back."""
        try:
            if isinstance(reason, SchemaWanted):
                await self._schemas.fetch(reason.schema_id)
                return
        except Unavailable as error:
            reason = error
        _log.warning("waiting: %s", reason)
        await asyncio.sleep(_RETRY_S)
