"""Laws of `procurator.stream_processors.partition`: whenever a worker dies, every event is counted once.

A worker is played against a Kafka of two variables: what is durable in the state topic, and the committed offset. It
folds, publishes and commits in any interleaving, dies at any step, also between Kafka's taking a transaction and the
worker's learning of it, and starts again from what is durable.
"""

from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from procurator import events
from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.avro_schemas.encoder import Encoder
from procurator.bench import corpus
from procurator.pricing import PriceBook
from procurator.session_state import SessionState
from procurator.stream_processors.partition import Log, PublishPolicy, SessionPartition, StateCodec

LOG = Log("5b1d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4e:0", 0, 1)
EVENT, STATE = load_schema("session_event"), load_schema("session_state")
EVENTS = Decoder(EVENT, lambda schema_id: EVENT.text)
CODEC = StateCodec(Encoder(STATE, 7), Decoder(STATE, lambda schema_id: STATE.text))
PRICES = PriceBook()
TIME_MS = 1_790_000_000_000


class Record(NamedTuple):
    offset: int
    timestamp: int
    value: bytes | None


@cache
def log() -> tuple[Record, ...]:
    """Records of a few sessions, with holes between offsets, repeats and poison."""
    values: list[bytes | None] = []
    for n, event in enumerate(corpus.stream(110, seed=3, sessions_at_once=4)):
        value = corpus.encode(event, 1)
        values += [value, value] if n % 9 == 4 else [value]
        values += [b"poison", None] if n % 40 == 17 else []
    return tuple(Record(n * 3 + n % 2, TIME_MS + n, value) for n, value in enumerate(values))


def recount(records: tuple[Record, ...]) -> dict[str, SessionState]:
    states: dict[str, SessionState] = {}
    for record in records:
        if record.value in (None, b"poison"):
            continue
        event = events.parse(EVENTS, record.value)
        state = states.setdefault(event["session_id"], SessionState(event["session_id"]))
        state.apply(event, offset=record.offset, broker_time_us=record.timestamp * 1000)
    return states


@dataclass
class Play:
    """The durable world, and the worker that lives in it now."""

    durable: dict[str, bytes] = field(default_factory=dict)
    committed: int = 0
    time_s: float = 0.0

    def __post_init__(self) -> None:
        self.die()

    def die(self) -> None:
        policy = PublishPolicy(live_max=2)
        self.worker = SessionPartition(LOG, dict(self.durable), CODEC, EVENTS, policy)
        self.next = next((n for n, record in enumerate(log()) if record.offset >= self.committed), len(log()))
        self.taken: list[tuple[str, bytes]] | None = None

    def fold(self, count: int) -> None:
        self.worker.fold(log()[self.next : self.next + count], PRICES)
        self.next = min(self.next + count, len(log()))

    def take(self, everything: bool = False) -> None:
        publication = self.worker.take(self.time_s, everything=everything)
        if publication is not None:
            self.taken = publication.states

    def append(self) -> None:
        """Kafka takes the transaction; the worker does not know yet."""
        self.durable.update(self.taken or [])

    def learn(self) -> None:
        if self.taken is not None:
            self.append()
            self.worker.published()
            self.taken = None

    def commit(self) -> None:
        offset = self.worker.committable
        if offset is not None:
            assert offset >= self.committed, "commits never go back"
            self.committed = offset

    def states(self) -> dict[str, SessionState]:
        return {
            session_id: SessionState.from_record(CODEC.decoder.decode(value))
            for session_id, value in self.durable.items()
        }


kinds = st.sampled_from(["fold", "take", "take all", "append", "learn", "commit", "die", "wait"])
steps = st.lists(st.tuples(kinds, st.integers(1, 30)), min_size=20, max_size=60)


@given(steps)
@settings(max_examples=300)
def test_whatever_dies_every_event_counts_once(script: list[tuple[str, int]]) -> None:
    play = Play()
    for step, count in script:
        match step:
            case "fold":
                play.fold(count)
            case "take" | "take all":
                play.take(everything=step == "take all")
            case "append":
                play.append()
            case "learn":
                play.learn()
            case "commit":
                play.commit()
                through = recount(tuple(record for record in log() if record.offset < play.committed))
                shown = play.states()
                for session_id, state in through.items():
                    assert shown[session_id].as_of_offset >= state.as_of_offset, "committed before it was durable"
            case "die":
                play.die()
            case "wait":
                play.time_s += 0.2
    play.die()
    play.fold(len(log()))
    play.take(everything=True)
    play.learn()
    play.commit()
    assert play.states() == recount(log())
    assert play.committed == log()[-1].offset + 1
