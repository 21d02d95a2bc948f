"""Laws of budgets: whatever dies, is delivered again or arrives in another order, the spend is the recount.

The model is a worker without IO: partitions fold their logs in batches, publish states and counters at once, die, and
are opened anew with what was published; counters and definitions reach the sums late and in any order.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from zoneinfo import available_timezones

from hypothesis import given, settings
from hypothesis import strategies as st

from procurator import events, signals
from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.avro_schemas.encoder import Encoder
from procurator.budgets import Budget, Counter, PeriodFinder, Threshold, charged_at
from procurator.budgets.meter import Meter
from procurator.budgets.records import counter_from_record, counter_to_record
from procurator.budgets.spend import CounterKey, later
from procurator.events import TOKEN_BUCKETS, SessionEvent
from procurator.partitioner import partition_of
from procurator.price_record import ConditionalRates, NameMatch, PriceRecord, PriceVersion, Rate, Rates
from procurator.pricing import PriceBook
from procurator.session_state import SessionState
from procurator.stream_processors.budgets.enforcement import Enforcement
from procurator.stream_processors.budgets.index import Owner, concerns
from procurator.stream_processors.budgets.observer import Observer
from procurator.stream_processors.budgets.sessions import OpenSession
from procurator.stream_processors.budgets.sums import Sums
from procurator.stream_processors.partition import Log, PublishPolicy, SessionPartition, StateCodec

PARTITIONS = 2
HOUR_US = 3_600_000_000
T0_US = 1_790_000_000_000_000 // HOUR_US * HOUR_US
EVENTS, STATES, SPEND = (load_schema(name) for name in ("session_event", "session_state", "budget_spend"))
_DECODER = Decoder(EVENTS, lambda _: EVENTS.text)
_CODEC = StateCodec(Encoder(STATES, 1), Decoder(STATES, lambda _: STATES.text))
_SPEND_DECODER = Decoder(SPEND, lambda _: SPEND.text)
_RATES = Rates(input=Rate(Decimal(1)), output=Rate(Decimal("0.333333333333")))
_VERSION = PriceVersion("v1", 0, "test", model_match=NameMatch("EQUALS", "m"), prices=(ConditionalRates(_RATES),))
PRICES = PriceBook.of([PriceRecord("p", "m", None, (_VERSION,))])
Step = tuple[str, int, int]
SESSIONS = [f"{n:08x}-52d1-4a8e-9c1b-3a7d1f0b2c4d" for n in range(6)]
AGENTS = {session_id: f"agent{n % 2}" for n, session_id in enumerate(SESSIONS)}


@dataclass
class Record:
    offset: int
    timestamp: int
    value: bytes | None


def budget(budget_id: str, scope: str, scope_id: str, unit: str, limit: str, period: str) -> Budget:
    thresholds = (
        Threshold(Decimal("0.4"), "NOTIFY"),
        Threshold(Decimal("0.7"), "REQUIRE_APPROVAL"),
        Threshold(Decimal(1), "TERMINATE"),
    )
    return Budget(
        budget_id, "acme", budget_id, scope, scope_id, unit, Decimal(limit), period, "Asia/Kathmandu", thresholds
    )


BUDGETS = [
    budget("agent", "AGENT", "agent0", "USD", "0.002", "DAY"),
    budget("team", "TEAM", "payments", "TOKENS", "2000", "LIFETIME"),
    budget("org", "ORGANISATION", "acme", "USD", "1000", "MONTH"),
    budget("each", "SESSION", "agent1", "TOKENS", "1500", "LIFETIME"),
]


@st.composite
def logs(draw: st.DrawFn) -> list[list[Record]]:
    """A few sessions' events over the logs, with repeated sequences, skewed clocks, time passing and reservations."""
    records: list[list[Record]] = [[] for _ in range(PARTITIONS)]
    sequences = dict.fromkeys(SESSIONS, 0)
    now_us = T0_US
    for _ in range(draw(st.integers(10, 40))):
        session_id = draw(st.sampled_from(SESSIONS))
        call_id, tokens = draw(st.sampled_from("abc")), draw(st.integers(0, 800))
        bodies: list[tuple[str, dict[str, Any]]] = [
            (events.SESSION_STARTED, {"agent_name": "A", "initiator": "USER", "origin": "API"}),
            (
                events.MODEL_CALL_STARTED,
                {"model_call_id": call_id, "provider": "p", "model": "m", "input_tokens_estimate": tokens},
            ),
            *2 * [_completed(call_id, "m", tokens), _completed(call_id, "unpriced", tokens)],
            (events.SESSION_ENDED, {"status": "COMPLETED", "ended_by": "runtime"}),
        ]
        body = draw(st.sampled_from(bodies))
        sequence = sequences[session_id] if draw(st.integers(0, 4)) else max(sequences[session_id] - 1, 0)
        sequences[session_id] = max(sequences[session_id], sequence + 1)
        now_us += draw(st.sampled_from([1_000_000, 7 * HOUR_US]))
        event = {
            "event_id": "1f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d",
            "session_id": session_id,
            "emitter_id": "runtime",
            "sequence": sequence,
            "occurred_at": now_us + draw(st.sampled_from([0, -HOUR_US, HOUR_US])),
            "nonce": bytes(16),
            "org_id": "acme",
            "agent_id": AGENTS[session_id],
            "owner_team_id": "payments",
            "payload": body,
        }
        log = records[partition_of(session_id, PARTITIONS)]
        offset = log[-1].offset + draw(st.integers(1, 3)) if log else 0
        log.append(Record(offset, now_us // 1000, EVENTS.encode(event, 1)))
    return records


def _completed(call_id: str, model: str, tokens: int) -> tuple[str, dict[str, Any]]:
    call = {"model_call_id": call_id, "provider": "p", "model": model, "latency_ms": 1.0, "input_tokens": tokens}
    return events.MODEL_CALL_COMPLETED, call


@dataclass
class Model:
    """One worker, and what it has published: states by partition, counters, signals by id."""

    logs: list[list[Record]]
    states: list[dict[str, bytes]] = field(default_factory=lambda: [{} for _ in range(PARTITIONS)])
    counters: dict[CounterKey, bytes] = field(default_factory=dict)
    committed: list[int] = field(default_factory=lambda: [0] * PARTITIONS)
    signals: dict[str, dict[str, Any]] = field(default_factory=dict)
    defined: dict[str, Budget | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin with what was published; what was not is lost."""
        self.enforcement = Enforcement(Sums(lambda _: True))
        self.enforcement.define(self.defined)
        for signal in self.signals.values():
            self.enforcement.heard(signal, T0_US)
        self.enforcement.sums.merge(map(_decoded, self.counters.values()))
        self.partitions = [self._open(partition) for partition in range(PARTITIONS)]

    def _open(self, partition: int) -> SessionPartition:
        own = [counter for counter in map(_decoded, self.counters.values()) if counter.key.log_id == f"log:{partition}"]
        restored = [SessionState.from_record(_CODEC.decoder.decode(v)) for v in self.states[partition].values()]
        meter = Meter(f"log:{partition}", own, max((state.as_of_offset for state in restored), default=-1))
        observer = Observer(partition, meter, self.enforcement)
        for state in restored:
            if not state.imported and not state.ended:
                self.enforcement.opened(OpenSession.of(state, partition))
        log, table = Log(f"log:{partition}", partition, PARTITIONS), dict(self.states[partition])
        return SessionPartition(log, table, _CODEC, _DECODER, PublishPolicy(2.0, 0.0), observer)

    def define(self, budget: Budget) -> None:
        self.defined[budget.budget_id] = budget
        self.enforcement.define({budget.budget_id: budget})

    def fold(self, partition: int, count: int) -> None:
        start = max(self.partitions[partition].position, self.committed[partition])
        batch = [record for record in self.logs[partition] if record.offset >= start][:count]
        self.partitions[partition].fold(batch, PRICES)

    def publish(self, partition: int, now_s: float, *, everything: bool = False) -> None:
        publication = self.partitions[partition].take(now_s, everything=everything)
        if publication is not None:
            self.states[partition].update(publication.states)
            for key, counter in publication.counters.items():
                assert counter is not None
                self.counters[key] = SPEND.encode(counter_to_record(counter), 1)
            self.partitions[partition].published()
        committable = self.partitions[partition].committable
        self.committed[partition] = self.committed[partition] if committable is None else committable

    def decide(self, now_us: int) -> None:
        for signal in self.enforcement.decide(now_us, lambda _: 0).signals:
            assert signal["signal_id"] not in self.signals, "said again though it stands on the control topic"
            self.signals[signal["signal_id"]] = signal

    def finish(self) -> None:
        for partition in range(PARTITIONS):
            self.fold(partition, 10_000)
            self.publish(partition, 9.0, everything=True)


def _decoded(value: bytes) -> Counter:
    return counter_from_record(_SPEND_DECODER.decode(value))


def recount(log: list[Record], counter: Counter, budget: Budget) -> tuple[int, int, int]:
    """Return spent 10^-18 USD, tokens and unpriced tokens as the ledger's SQL would: repeated ones out, then a sum."""
    seen: set[tuple[str, int]] = set()
    attousd = tokens = unpriced = 0
    finder = PeriodFinder(budget.period, budget.time_zone)
    for record in log:
        event: SessionEvent = events.parse(_DECODER, record.value)
        identity = event["session_id"], event["sequence"]
        repeated = identity in seen
        seen.add(identity)
        kind, call = event["payload"]
        if repeated or kind != events.MODEL_CALL_COMPLETED or not concerns(budget, _owner(event)):
            continue
        at_us = charged_at(event["occurred_at"], record.timestamp * 1000)
        in_period = finder.at(at_us).start_us == counter.key.period_start_us
        if in_period and counter.from_offset <= record.offset <= counter.as_of_offset:
            used = sum(call[bucket] for bucket in TOKEN_BUCKETS)
            tokens += used
            if call["model"] == "m":
                attousd += used * 10**12
            else:
                unpriced += used
    return attousd, tokens, unpriced


def _owner(event: SessionEvent) -> Owner:
    return Owner(event["org_id"], event["agent_id"], event["owner_team_id"])


def held(model: Model, counter: Counter, budget: Budget) -> int:
    """Return the tokens that the published states hold reserved in the counter."""
    partition = int(counter.key.log_id.removeprefix("log:"))
    states = [SessionState.from_record(_CODEC.decoder.decode(value)) for value in model.states[partition].values()]
    finder = PeriodFinder(budget.period, budget.time_zone)
    return sum(
        reservation.tokens
        for state in states
        if concerns(budget, Owner(state.org_id, state.agent_id, state.owner_team_id))
        for reservation in state.reservations.values()
        if finder.at(reservation.charged_at).start_us == counter.key.period_start_us
        and reservation.offset >= counter.from_offset
    )


_fold = st.tuples(st.just("fold"), st.integers(0, PARTITIONS - 1), st.integers(1, 9))
_publish = st.tuples(st.just("publish"), st.integers(0, PARTITIONS - 1), st.integers(0, 5))
_die = st.tuples(st.just("die"), st.just(0), st.just(0))
_define = st.tuples(st.just("define"), st.integers(0, len(BUDGETS) - 1), st.just(0))
_decide = st.tuples(st.just("decide"), st.just(0), st.just(0))
steps = st.lists(st.one_of(_fold, _fold, _publish, _publish, _die, _define, _define, _decide), min_size=12, max_size=40)


def run(model: Model, todo: list[Step], *, finish: bool = True) -> None:
    for action, number, argument in todo:
        if action == "fold":
            model.fold(number, argument)
        elif action == "publish":
            model.publish(number, argument)
        elif action == "decide":
            model.decide(T0_US)
        elif action == "die":
            model.start()
        else:
            model.define(BUDGETS[number])
    if finish:
        model.finish()


@given(logs(), steps)
@settings(max_examples=100)
def test_spend_is_the_recount_whatever_dies_whenever_budgets_are_defined(
    log: list[list[Record]], todo: list[Step]
) -> None:
    model = Model(log)
    run(model, todo)
    for value in model.counters.values():
        counter = _decoded(value)
        own = log[int(counter.key.log_id.removeprefix("log:"))]
        spent = counter.spent_attousd, counter.spent_tokens, counter.unpriced_tokens
        definition = next(b for b in BUDGETS if b.budget_id == counter.key.budget_id)
        assert spent == recount(own, counter, definition)
        assert counter.reserved_tokens == held(model, counter, definition)


@given(logs(), steps)
@settings(max_examples=60)
def test_deaths_and_the_order_of_delivery_change_no_counter(log: list[list[Record]], todo: list[Step]) -> None:
    """With the budgets defined beforehand: then they count all there is."""
    model, straight = Model(log), Model(log)
    for definition in BUDGETS:
        model.define(definition)
        straight.define(definition)
    run(model, [step for step in todo if step[0] != "define"])
    straight.finish()
    assert {key: _decoded(value) for key, value in model.counters.items()} == {
        key: _decoded(value) for key, value in straight.counters.items()
    }
    for counter in map(_decoded, straight.counters.values()):
        assert counter.reserved_tokens >= 0
    assert model.states == straight.states


@given(logs(), steps)
@settings(max_examples=60)
def test_every_open_session_of_a_crossed_budget_is_told_once_and_nobody_else(
    log: list[list[Record]], todo: list[Step]
) -> None:
    model = Model(log)
    for step in todo:
        run(model, [step], finish=False)
        model.decide(T0_US)
    run(model, [])
    model.decide(T0_US)
    terminated = {signal["session_id"] for signal in model.signals.values() if signal["kind"] == signals.TERMINATE}
    sums = model.enforcement.sums
    for session_id in SESSIONS:
        session = model.enforcement.sessions.get(session_id)
        owner = Owner("acme", AGENTS[session_id], "payments")
        shared = [b for b in sums.index.matching(owner).shared if sums.status(b, T0_US).exhausted]
        if session is not None:
            each = [b for b in sums.index.matching(owner).each if session.spend.tokens >= b.amounts[-1]]
            assert (session_id in terminated) == bool(shared or each)
        elif session_id in terminated:
            known = {signal["budget_id"] for signal in model.signals.values() if signal["session_id"] == session_id}
            assert known <= set(model.defined)
    # Counters are merged in any order, any number of times.
    values = [_decoded(value) for value in model.counters.values()]
    again = Sums(lambda _: True)
    again.define(model.defined)
    again.merge(reversed(values))
    again.merge(values)
    for definition in (b for b in model.defined.values() if b is not None):
        assert again.status(definition, T0_US).spend == sums.status(definition, T0_US).spend


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1))
def test_the_later_of_two_counters_stands_in_any_order(positions: list[tuple[int, int]]) -> None:
    key = CounterKey("b", 0, "log:0")
    counters = [Counter(key, "acme", 0, as_of_offset=offset, spent_tokens=offset) for offset, _ in positions]
    forwards: Counter | None = None
    backwards: Counter | None = None
    for one, other in zip(counters, reversed(counters), strict=True):
        forwards, backwards = later(forwards, one), later(backwards, other)
    assert forwards == backwards


_zones = st.sampled_from(sorted(available_timezones()))
_instants = st.integers(0, 4_000_000_000_000_000)


@given(_zones, st.sampled_from(["DAY", "WEEK", "MONTH"]), _instants)
def test_periods_follow_one_another_without_hole_or_overlap(zone: str, kind: str, at_us: int) -> None:
    finder = PeriodFinder(kind, zone)
    period = finder.at(at_us)
    assert period.end_us is not None
    assert period.start_us <= at_us < period.end_us
    assert PeriodFinder(kind, zone).at(period.end_us).start_us == period.end_us
    assert PeriodFinder(kind, zone).at(period.start_us) == period
    assert PeriodFinder(kind, zone).at(period.start_us - 1).end_us == period.start_us
