"""`procurator.stream_processors.partition`: what is folded, what is due, what may be committed."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.avro_schemas.encoder import Encoder
from procurator.bench import corpus
from procurator.errors import Fatal, Unavailable
from procurator.partitioner import partition_of
from procurator.pricing import PriceBook
from procurator.session_state import SessionState
from procurator.stream_processors.partition import Log, PublishPolicy, SessionPartition, StateCodec

EVENT = load_schema("session_event")
STATE = load_schema("session_state")
STATES = Decoder(STATE, lambda schema_id: STATE.text)
LOG = Log("5b1d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4e:0", 0, 1)
PRICES = PriceBook()
POLICY = PublishPolicy()


class Record(NamedTuple):
    offset: int
    value: bytes | None
    timestamp: int = 1_790_000_000_000


def events_of(sessions: int = 1, seed: int = 0) -> list[bytes]:
    """The whole life of some sessions, one after the other, encoded."""
    found: dict[str, list[bytes]] = {}
    for event in corpus.stream(sessions * 120, seed=seed, sessions_at_once=1):
        found.setdefault(event.session_id, []).append(corpus.encode(event, 1))
    return [value for values in list(found.values())[:sessions] for value in values]


def records(values: list[bytes], start: int = 0) -> list[Record]:
    return [Record(start + n, value) for n, value in enumerate(values)]


def partition(
    table: dict[str, bytes] | None = None,
    log: Log = LOG,
    fetch: Callable[[int], str] = lambda schema_id: EVENT.text,
    policy: PublishPolicy = POLICY,
) -> SessionPartition:
    codec = StateCodec(Encoder(STATE, 7), STATES)
    return SessionPartition(log, {} if table is None else table, codec, Decoder(EVENT, fetch), policy)


def test_nothing_may_be_committed_before_it_is_published() -> None:
    assert partition().committable is None
    sessions = partition()
    sessions.fold(records(events_of(), start=10)[:3], PRICES)
    assert (sessions.position, sessions.committable) == (13, 10)
    taken = sessions.take(0.0)
    assert taken is not None
    assert sessions.committable == 10, "it is on its way"
    sessions.published()
    assert sessions.committable == 13


def test_what_comes_while_a_publication_is_under_way_waits_for_the_next() -> None:
    life = records(events_of())
    sessions = partition()
    sessions.fold(life[:2], PRICES)
    first = sessions.take(0.0)
    sessions.fold(life[2:4], PRICES)
    assert sessions.take(9.0) is None, "one at a time"
    sessions.published()
    assert sessions.committable == 2
    second = sessions.take(9.0)
    assert first is not None
    assert second is not None
    assert [STATES.decode(taken.states[0][1])["as_of_offset"] for taken in (first, second)] == [1, 3]


def test_a_session_is_published_at_most_once_an_interval() -> None:
    life = records(events_of())
    sessions = partition()
    sessions.fold(life[:2], PRICES)
    assert sessions.take(100.0) is not None
    sessions.published()
    sessions.fold(life[2:3], PRICES)
    assert not sessions.urgent
    assert sessions.take(100.2) is None
    assert sessions.committable == 2
    assert sessions.take(100.25) is not None


def test_a_change_of_status_is_due_at_once() -> None:
    life = records(events_of())
    sessions = partition()
    sessions.fold(life[:2], PRICES)
    sessions.take(100.0)
    sessions.published()
    sessions.fold(life[2:], PRICES)
    assert sessions.urgent
    taken = sessions.take(100.01)
    assert taken is not None
    assert STATES.decode(taken.states[0][1])["status"] in {"COMPLETED", "FAILED", "TERMINATED"}
    assert not sessions.urgent


def test_everything_can_be_taken_before_the_partition_is_lost() -> None:
    life = records(events_of())
    sessions = partition()
    sessions.fold(life[:2], PRICES)
    sessions.take(100.0)
    sessions.published()
    sessions.fold(life[2:3], PRICES)
    assert sessions.take(100.0) is None
    assert sessions.take(100.0, everything=True) is not None


def test_an_earlier_session_that_is_not_due_holds_the_commit_back() -> None:
    one, two = events_of(seed=1), events_of(seed=2)
    sessions = partition()
    sessions.fold(records([one[0], two[0]]), PRICES)
    sessions.take(100.0)
    sessions.published()
    ending = Record(3, two[-1])
    sessions.fold([Record(2, one[1]), ending], PRICES)
    taken = sessions.take(100.1)  # the second session has ended, the first is not due
    assert taken is not None
    assert len(taken.states) == 1
    sessions.published()
    assert sessions.committable == 2


@pytest.mark.parametrize("value", [None, b"", b"\x00\x00\x00\x00\x01", b"\xff" * 50])
def test_what_no_event_can_be_made_of_counts_nowhere_and_may_be_committed(value: bytes | None) -> None:
    sessions = partition()
    sessions.fold([Record(5, value)], PRICES)
    assert sessions.take(0.0) is None
    assert sessions.committable == 6


def test_a_misplaced_record_counts_nowhere() -> None:
    event = next(corpus.stream(1))
    other = 1 - partition_of(event.session_id, 2)
    sessions = partition(log=LOG._replace(partition=other, partitions=2))
    sessions.fold([Record(0, corpus.encode(event, 1))], PRICES)
    assert sessions.take(0.0) is None
    assert sessions.committable == 1


def test_an_outage_of_the_registry_stops_the_fold_where_it_is() -> None:
    away = True

    def fetch(schema_id: int) -> str:
        if away:
            raise Unavailable("away")
        return EVENT.text

    life = records(events_of())[:3]
    sessions = partition(fetch=fetch)
    with pytest.raises(Unavailable):
        sessions.fold([Record(-1, b"poison"), *life], PRICES)
    assert sessions.position <= 0
    away = False
    sessions.fold(life, PRICES)
    assert sessions.position == 3


def test_a_restored_partition_skips_what_its_states_have_and_shows_them_again() -> None:
    life = records(events_of())
    table: dict[str, bytes] = {}
    sessions = partition(table)
    sessions.fold(life[:5], PRICES)
    sessions.take(0.0)
    sessions.published()
    again = partition(dict(table))
    again.fold(life[2:8], PRICES)  # redelivered from an offset committed before
    taken = again.take(0.0)
    assert taken is not None
    sessions.fold(life[5:8], PRICES)
    straight = sessions.take(1.0)
    assert straight is not None
    assert taken.states == straight.states
    once_more = partition(dict(table))
    once_more.fold(life[2:5], PRICES)
    repeated = once_more.take(0.0)
    assert repeated is not None
    assert repeated.states == list(table.items())


def test_a_state_of_another_log_is_started_anew() -> None:
    life = records(events_of())
    table: dict[str, bytes] = {}
    former = partition(table, log=LOG._replace(log_id="6c1d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4e:0"))
    former.fold(records(events_of(), start=500), PRICES)
    former.take(0.0)
    sessions = partition(table)
    sessions.fold(life[:2], PRICES)
    taken = sessions.take(0.0)
    assert taken is not None
    state = STATES.decode(taken.states[0][1])
    assert (state["events"], state["log_id"], state["as_of_offset"]) == (2, LOG.log_id, 1)


def test_a_foreign_record_in_the_state_topic_stops_the_worker() -> None:
    event = next(corpus.stream(1))
    sessions = partition({event.session_id: b"not ours"})
    with pytest.raises(Fatal, match=f"^the state topic's record of session {event.session_id} is none of ours"):
        sessions.fold([Record(0, corpus.encode(event, 1))], PRICES)


def test_states_that_are_not_decoded_are_read_from_the_table_again() -> None:
    table: dict[str, bytes] = {}
    sessions = partition(table, policy=PublishPolicy(live_max=1))
    lives = [events_of(seed=seed) for seed in range(6)]
    offset = 0
    for step in range(4):
        for life in lives:
            sessions.fold([Record(offset, life[step])], PRICES)
            offset += 1
        sessions.take(float(step))
        sessions.published()
    found = [SessionState.from_record(STATES.decode(value)) for value in table.values()]
    assert [state.events for state in found] == [4] * 6


def test_a_backlog_stretches_the_interval_up_to_a_limit() -> None:
    policy = PublishPolicy(interval_s=0.25, interval_s_max=1.0, share_max=0.125)
    assert [policy.interval_after(spent_s) for spent_s in (0.0, 0.03125, 0.0625, 0.3)] == [0.25, 0.25, 0.5, 1.0]


def test_changes_of_status_are_gathered_for_longer_where_transactions_take_long() -> None:
    policy = PublishPolicy(interval_s=0.25, urgent_s=0.02, urgent_share_max=0.25)
    assert [policy.urgent_after(took_s) for took_s in (0.0, 0.005, 0.03125, 1.0)] == [0.02, 0.02, 0.09375, 0.25]


def test_a_late_event_of_an_ended_session_finds_its_state_and_revives_nothing() -> None:
    values, ended, table = events_of(), {}, {}  # type: ignore[var-annotated]
    codec = StateCodec(Encoder(STATE, 7), STATES)
    decoder = Decoder(EVENT, lambda schema_id: EVENT.text)
    policy = PublishPolicy(live_max=0)

    def opened() -> SessionPartition:
        return SessionPartition(LOG, table, codec, decoder, policy, ended=ended)

    sessions = opened()
    sessions.fold(records(values), PRICES)
    assert sessions.take(0.0) is not None
    sessions.published()
    [(session_id, value)] = ended.items()
    assert not table, "what has ended takes no memory"
    before = STATES.decode(value)
    for again in (sessions, opened()):
        again.fold(records(values[-2:-1], start=1_000), PRICES)
        taken = again.take(10.0)
        assert taken is not None
        [(name, late)] = taken.states
        after = STATES.decode(late)
        assert (name, after["status"], after["completed_at"]) == (session_id, before["status"], before["completed_at"])
        assert (after["repeated_events"], after["events"]) == (before["repeated_events"] + 1, before["events"])
        ended[session_id] = value
