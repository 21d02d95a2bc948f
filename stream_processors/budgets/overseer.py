"""IO: budgets and endings of one worker: what it hears, what it decides, what it says. All in the event loop's thread.

Crash order. Nothing is remembered here but what topics say: definitions, counters, signals, statuses and session
states. Dying at any step leaves something unsaid, which whoever comes next finds again, with the same ids.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from math import inf
from time import monotonic

from procurator import clock
from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.avro_schemas.encoder import Encoder
from procurator.budgets import NOTICE_S, Budget, Counter
from procurator.budgets.meter import Meter
from procurator.budgets.records import (
    budget_from_record,
    counter_from_record,
    counter_key,
    counter_to_record,
    since_in_record,
)
from procurator.budgets.spend import CounterKey
from procurator.errors import Fatal, Rejected, Unavailable
from procurator.partitioner import partition_of
from procurator.registry import Registry
from procurator.stream_processors.budgets.enforcement import Enforcement
from procurator.stream_processors.budgets.observer import Observer
from procurator.stream_processors.budgets.session_statuses import SessionStatuses
from procurator.stream_processors.budgets.speaker import Speaker
from procurator.stream_processors.budgets.sums import PeriodKey, Sums
from procurator.stream_processors.partition import Log
from procurator.stream_processors.restore import Restored
from procurator.topic_feed import Heard, TopicFeed
from procurator.topics import BUDGET_DEFINITIONS, BUDGET_SPEND, BUDGET_STATUS, CONTROL

#: Deadlines are looked at this often when nothing happens.
_TICK_S = 0.1
_LAST_WORDS_S = 2.0
#: Periods that are long over, and budgets that were deleted while nobody listened, are looked for this often.
_SWEEP_US = 3_600_000_000
_HEARD = (BUDGET_DEFINITIONS, BUDGET_SPEND, CONTROL, BUDGET_STATUS)
#: What must be known before records are folded. (A partition's own counters are restored with its states.)
_NEEDED = (BUDGET_DEFINITIONS, CONTROL)


class Overseer:
    """Budgets and endings of the partitions of one worker.

    ``time_of(partition)`` is the time up to which its records have been folded, in µs. ``partitions`` are those of the
    events topic: a budget's status is published by whoever has the one that its id falls in.
    """

    def __init__(
        self,
        *,
        bootstrap_servers: str,
        registry: Registry,
        events_topic: str,
        partitions: int,
        time_of: Callable[[int], int],
    ) -> None:
        self._partitions = partitions
        #: By partition of ours.
        self._meters: dict[int, Meter] = {}
        #: All that had been defined by then is known, by the monotonic clock.
        self._budgets_known_s = -inf
        self._asking: asyncio.Task[None] | None = None
        self._time_of = time_of
        self._loop = asyncio.get_running_loop()
        self._failure: asyncio.Future[None] = asyncio.Future()
        self._woken = asyncio.Event()
        #: When the first of what is to be decided happened.
        self._since_us: int | None = None
        #: Set once everything was heard that was said before the start.
        self.informed = asyncio.Event()
        #: First when partitions have come, so that somebody publishes what is swept.
        self._sweep_us = clock.now_us() + _SWEEP_US // 60
        self.enforcement = Enforcement(Sums(self._publishes))
        self._session_statuses = SessionStatuses()
        self._feed = TopicFeed(bootstrap_servers, registry, _HEARD, self._hand_over)
        self._speaker = Speaker(bootstrap_servers, registry, events_topic, self._fail)
        spend = load_schema(BUDGET_SPEND.schema)
        self._spend_decoder = Decoder(spend, registry.fetch)
        self._spend_encoder = Encoder(spend, registry.schema_id(spend))

    def catch_up(self) -> None:
        """Know every budget that anybody knew when this was called. Blocking, not for the event loop's thread.

        Needed between taking a partition over and folding its records. Raises Unavailable on `close`.
        """
        self._feed.catch_up(_NEEDED)

    async def know_budgets(self, received_s: float) -> None:
        """Know every budget that holds for records that were here at ``received_s``, by the monotonic clock.

        A definition holds `NOTICE_S` after Kafka has it: so Kafka is asked beside the folding, not once a batch before
        it. Waits while Kafka is away; raises Unavailable on `close`.
        """
        while (age_s := received_s - self._budgets_known_s) >= NOTICE_S / 2:
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask_for_budgets())
            if age_s < NOTICE_S:
                return
            await asyncio.shield(self._asking)

    async def _ask_for_budgets(self) -> None:
        asked_s = monotonic()
        await asyncio.to_thread(self._feed.catch_up, (BUDGET_DEFINITIONS,))
        self._budgets_known_s = asked_s

    async def run_for_ever(self) -> None:
        """Hear everything that was said so far, then decide and say, until cancelled.

        Raises Unavailable or UserError when there is nothing to hear, Fatal when something cannot be said.
        """
        self._feed.start()
        await asyncio.to_thread(self._feed.catch_up)
        self.informed.set()
        while not self._failure.done():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), _TICK_S)
            self._woken.clear()
            now_us = clock.now_us()
            if now_us >= self._sweep_us:
                self._sweep_us = now_us + _SWEEP_US
                self._sweep(now_us)
            since_us, self._since_us = now_us if self._since_us is None else self._since_us, None
            decisions = self.enforcement.decide(now_us, self._time_of)
            if decisions:
                await self._speaker.say(decisions, since_us)
            else:
                self._speaker.poll()
        self._failure.result()

    def wake(self, since_us: int | None = None) -> None:
        """Something has happened, at ``since_us`` (µs; now if left out): decide soon."""
        since_us = clock.now_us() if since_us is None else since_us
        self._since_us = since_us if self._since_us is None else min(since_us, self._since_us)
        self._woken.set()

    def opened(self, log: Log, found: Restored) -> Observer:
        """Take a partition over, with what was restored of it; the observer is to be told what happens there."""
        self.enforcement.sums.merge(found.counters)
        meter = self._meters[log.partition] = Meter(log.log_id, found.counters, found.folded_to)
        observer = Observer(log.partition, meter, self.enforcement)
        for session in found.open_sessions:
            self.enforcement.opened(session)
        self.enforcement.sums.publish_all()
        self.wake()
        return observer

    def released(self, partition: int) -> None:
        """The partition is another worker's."""
        self._meters.pop(partition, None)
        self.enforcement.released(partition)

    def encode(self, counters: Mapping[CounterKey, Counter | None]) -> list[tuple[bytes, bytes | None]]:
        """Return keys and values of the spend topic."""
        encode = self._spend_encoder.encode
        return [
            (counter_key(key), None if counter is None else encode(counter_to_record(counter)))
            for key, counter in counters.items()
        ]

    def decode(self, values: Iterable[bytes]) -> list[Counter]:
        """Return the counters in values of the spend topic. Raises Fatal for one that is none of ours."""
        try:
            return [counter_from_record(self._spend_decoder.decode(value)) for value in values]
        except Rejected as error:
            raise Fatal(f"{BUDGET_SPEND.name}: a counter is none of ours: {error}") from error

    async def close(self) -> None:
        """Stop hearing, and wait a little for what is being said."""
        await asyncio.to_thread(self._feed.close)
        if self._asking is not None:
            with suppress(Unavailable):
                await self._asking
        await asyncio.to_thread(self._speaker.close, _LAST_WORDS_S)

    def _sweep(self, now_us: int) -> None:
        """Forget, here and in the topics, what nothing can be added to any more."""
        sums = self.enforcement.sums
        sums.sweep(now_us)
        for meter in self._meters.values():
            meter.forget(lambda key: sums.is_over(PeriodKey(key.budget_id, key.period_start_us), now_us))
        budgets = sums.index.budgets
        over = self._session_statuses.over(now_us, lambda budget_id: budget_id not in budgets, self._is_over)
        self.enforcement.forget(over)

    def _is_over(self, session_id: str) -> bool:
        """Tell whether a session is one of ours that is not open any more."""
        ours = partition_of(session_id, self._partitions) in self._meters
        return ours and self.enforcement.sessions.get(session_id) is None

    def _publishes(self, budget_id: str) -> bool:
        return partition_of(budget_id, self._partitions) in self._meters

    def _fail(self, error: Exception) -> None:
        if not self._failure.done():
            self._failure.set_exception(error)
            self.wake()

    def _hand_over(self, heard: list[Heard]) -> None:
        """Called in the feed's thread; returns when the event loop has taken it, which `catch_up` waits for."""
        asyncio.run_coroutine_threadsafe(self._take(heard), self._loop).result()

    async def _take(self, heard: list[Heard]) -> None:
        now_us = clock.now_us()
        definitions: dict[str, Budget | None] = {}
        counters: list[Counter] = []
        for topic, partition, key, record in heard:
            if topic is BUDGET_STATUS:
                self._session_statuses.heard(key, record)
            if topic is BUDGET_DEFINITIONS:
                definitions[key.decode("utf-8", "replace")] = None if record is None else budget_from_record(record)
            elif record is None:
                continue
            elif topic is BUDGET_SPEND:
                if partition not in self._meters:
                    counters.append(counter_from_record(record))
            elif topic is CONTROL:
                self.enforcement.heard(record, now_us)
            elif topic is BUDGET_STATUS and record["session_id"] is None:
                place = PeriodKey(record["budget_id"], record["period_start"])
                self.enforcement.sums.crossed_since(place, since_in_record(record))
        if definitions:
            self.enforcement.define(definitions)
            if None in definitions.values() and self.informed.is_set():
                self._sweep(now_us)
        self.enforcement.sums.merge(counters)
        self.wake()
