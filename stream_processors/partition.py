"""The sessions of one log: fold its records, say whose state is due for publication, and what may be committed. Pure.

A record's effect leaves this process only by publication of its session's state. `committable` therefore is the
offset of the earliest record whose effect is not published yet: what is committed never has to be read again.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from typing import NamedTuple, Protocol

from procurator import events
from procurator.avro_schemas.codec import Decoder
from procurator.avro_schemas.encoder import Encoder
from procurator.budgets.spend import Counter, CounterKey
from procurator.errors import Fatal, Rejected
from procurator.event_cost import event_cost
from procurator.partitioner import partition_of
from procurator.pricing import PriceBook
from procurator.session_state import SessionState
from procurator.stream_processors.budgets.observer import Observer


@dataclass(frozen=True)
class PublishPolicy:
    """When a session's state is published: at once on a change of status, else at most once in `interval_s`.

    Where that would take more than `share_max` of the time, as in a backlog, up to `interval_s_max`.
    `urgent_s` gathers changes of status that come close together into one transaction a partition. Where those take
    long, longer, so that they take `urgent_share_max` of the time at most.
    """

    interval_s: float = 0.25
    interval_s_max: float = 1.0
    share_max: float = 0.05
    urgent_s: float = 0.02
    urgent_share_max: float = 0.25
    #: Sessions kept decoded, a partition; the others stand encoded in its table.
    live_max: int = 5_000

    def urgent_after(self, published_in_s: float) -> float:
        """Return how long to gather changes of status when the last transactions took ``published_in_s``."""
        waiting_s = published_in_s * (1 / self.urgent_share_max - 1)
        return min(max(self.urgent_s, waiting_s), self.interval_s)

    def interval_after(self, spent_s: float) -> float:
        """Return the interval to keep when publishing everything once took ``spent_s`` of work."""
        return min(max(self.interval_s, spent_s / self.share_max), self.interval_s_max)


class Ended(Protocol):
    """Encoded states of sessions that have ended, by session id."""

    def get(self, session_id: str, /) -> bytes | None: ...

    def __setitem__(self, session_id: str, value: bytes, /) -> None: ...


class Log(NamedTuple):
    """One partition of the events topic: its id, its number, the topic's number of partitions."""

    log_id: str
    partition: int
    partitions: int


class Record(Protocol):
    """A record as Kafka delivers it; ``timestamp`` is the broker's, in ms."""

    @property
    def offset(self) -> int: ...

    @property
    def timestamp(self) -> int: ...

    @property
    def value(self) -> bytes | None: ...


@dataclass(frozen=True)
class StateCodec:
    """States to and from the bytes of the state topic."""

    encoder: Encoder
    decoder: Decoder

    def encode(self, state: SessionState, log_id: str) -> bytes:
        return self.encoder.encode(state.to_record(log_id))


@dataclass(slots=True)
class _Live:
    """A decoded state, and what the state topic shows of it."""

    state: SessionState
    published_status: str | None
    published_s: float = -inf


class Publication(NamedTuple):
    """States to publish, as (session id, encoded state), and an offset below which all is published already.

    Counters of budgets go with the states that the same records have changed, so that a recovered state is never ahead
    of a recovered counter; None is one that is no more. To be encoded at once: they change with the next record.
    """

    states: list[tuple[str, bytes]]
    counters: dict[CounterKey, Counter | None]
    first_offset: int


class SessionPartition:
    """The state of every session of one log.

    ``table`` holds the published states of open sessions, encoded, by session id, and ``ended`` those of the others;
    both are changed in place. Times are of any monotonic clock, in seconds.
    """

    def __init__(
        self,
        log: Log,
        table: dict[str, bytes],
        codec: StateCodec,
        event_decoder: Decoder,
        policy: PublishPolicy = PublishPolicy(),
        observer: Observer | None = None,
        ended: Ended | None = None,
    ) -> None:
        self.log = log
        self._ended: Ended = {} if ended is None else ended
        self._observer = observer
        self.policy = policy
        #: How long a state stays unpublished at most; the worker may stretch it.
        self.interval_s = policy.interval_s
        self._table = table
        self._codec = codec
        self._event_decoder = event_decoder
        self._live: dict[str, _Live] = {}
        #: Session id → offset of its earliest record that is not published; ascending, since offsets are.
        self._dirty: dict[str, int] = {}
        self._urgent: dict[str, None] = {}
        self._in_flight: Publication | None = None
        self._position = -1

    @property
    def position(self) -> int:
        """Offset of the next record to fold; -1 before the first."""
        return self._position

    @property
    def committable(self) -> int | None:
        """The offset to commit: everything below it is folded and published. None before the first record."""
        if self._in_flight is not None:
            return self._in_flight.first_offset
        return next(iter(self._dirty.values()), self._position if self._position >= 0 else None)

    @property
    def urgent(self) -> bool:
        """Whether some session has changed its status since it was published."""
        return bool(self._urgent)

    def fold(self, records: Iterable[Record], prices: PriceBook) -> None:
        """Fold the records that were not folded yet, in order. Rejected and misplaced ones are counted nowhere.

        Raises Unavailable when the registry is needed and away; the same call later goes on where it stopped.
        """
        decoder, dirty, lives, observer = self._event_decoder, self._dirty, self._live, self._observer
        _, own, partitions = self.log
        position = self._position
        try:
            for record in records:
                offset = record.offset
                if offset < position:
                    continue
                try:
                    event = events.parse(decoder, record.value)
                except Rejected:
                    position = offset + 1
                    continue
                session_id = event["session_id"]
                if partition_of(session_id, partitions) == own:
                    live = lives.get(session_id) or self._load(session_id)
                    broker_time_us = record.timestamp * 1000
                    cost = event_cost(prices, event, broker_time_us)
                    state = live.state
                    repeated = state.repeated_events
                    # A record that a state has already (it was published, then the worker died before it committed)
                    # changes nothing, but the state is published again: the death may have cut that short.
                    if (
                        state.apply(event, offset=offset, broker_time_us=broker_time_us, cost=cost)
                        and observer is not None
                        and state.repeated_events == repeated
                    ):
                        observer.observe(event, state, offset, broker_time_us, cost, prices)
                    if session_id not in dirty:
                        dirty[session_id] = offset
                    if state.status != live.published_status and live.published_status is not None:
                        self._urgent[session_id] = None
                position = offset + 1
        finally:
            self._position = position

    def take(self, now_s: float, *, everything: bool = False) -> Publication | None:
        """Return the states that are due, or ``everything`` unpublished, for publication.

        What is taken is to be published, however often it takes; `published` says that it was. None when there is
        nothing, or while what was taken before is still under way.
        """
        if self._in_flight is not None:
            return None
        due = list(self._dirty) if everything else self._due(now_s)
        counters = self._observer.meter.take() if self._observer is not None else {}
        if not due and not counters:
            return None
        first_offset = next(iter(self._dirty.values()), self._position)
        states = []
        for session_id in due:
            live = self._live[session_id]
            value = self._codec.encode(live.state, self.log.log_id)
            if live.state.ended:
                self._table.pop(session_id, None)
                self._ended[session_id] = value
            else:
                self._table[session_id] = value
            states.append((session_id, value))
            live.published_status = live.state.status
            live.published_s = now_s
            del self._dirty[session_id]
            self._urgent.pop(session_id, None)
        self._in_flight = Publication(states, counters, first_offset)
        return self._in_flight

    def published(self) -> None:
        """What was taken is acknowledged."""
        publication, self._in_flight = self._in_flight, None
        if publication is None:
            return
        for session_id, _ in publication.states:
            live = self._live[session_id]
            if not live.state.ended:  # to the end, which is evicted last
                del self._live[session_id]
                self._live[session_id] = live
        if len(self._live) > self.policy.live_max:
            self._evict()

    def _due(self, now_s: float) -> list[str]:
        latest_s = now_s - self.interval_s
        urgent, live = self._urgent, self._live
        return [name for name in self._dirty if name in urgent or live[name].published_s <= latest_s]

    def _evict(self) -> None:
        clean = [name for name in self._live if name not in self._dirty]
        for name in clean[: len(self._live) - self.policy.live_max]:
            del self._live[name]

    def _load(self, session_id: str) -> _Live:
        live = None
        value = self._table.get(session_id) or self._ended.get(session_id)
        if value is not None:
            try:
                record = self._codec.decoder.decode(value)
            except Rejected as error:
                raise Fatal(f"the state topic's record of session {session_id} is none of ours: {error}") from error
            # A recreated topic is another log, with offsets of its own: its sessions start anew.
            if record["log_id"] == self.log.log_id:
                state = SessionState.from_record(record)
                live = _Live(state, state.status)
        self._live[session_id] = live = live or _Live(SessionState(session_id), None)
        return live
