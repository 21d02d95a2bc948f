"""Which events repeat earlier ones, with the ledger asked only for what is not in memory."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from procurator.sink.repeats import Repeats


class Ledger:
    """What a ledger has, and what it was asked."""

    def __init__(self, content: Mapping[str, Mapping[str, Iterable[int]]]) -> None:
        self.content = content
        self.asked: list[tuple[int, list[str]]] = []

    def __call__(self, before_offset: int, session_ids: Sequence[str]) -> Mapping[str, Mapping[str, Iterable[int]]]:
        self.asked.append((before_offset, list(session_ids)))
        return self.content


def events(*places: tuple[str, str, int]) -> list[Any]:
    return [{"session_id": session, "emitter_id": emitter, "sequence": n} for session, emitter, n in places]


def test_an_event_repeats_one_of_its_batch_of_memory_or_of_the_ledger() -> None:
    ledger = Ledger({"s1": {"runtime": [2, 0, 1]}})
    repeats = Repeats(ledger)
    repeats.begin(100, ["s1", "s2"])
    batch = events(("s1", "runtime", 2), ("s1", "runtime", 3), ("s1", "api", 2), ("s2", "runtime", 2))
    assert repeats.observe(batch) == [True, False, False, False]
    assert repeats.observe(events(("s2", "runtime", 2), ("s2", "runtime", 1))) == [True, False]
    repeats.begin(106, ["s1"])
    assert repeats.observe(events(("s1", "runtime", 3))) == [True]
    assert ledger.asked == [(100, ["s1", "s2"])]


def test_a_session_that_keys_did_not_announce_is_asked_for_when_it_comes() -> None:
    ledger = Ledger({"s3": {"runtime": [0]}})
    repeats = Repeats(ledger)
    repeats.begin(7, [])
    assert repeats.observe(events(("s3", "runtime", 0))) == [True]
    assert ledger.asked == [(7, ["s3"])]


def test_what_the_ledger_cannot_tell_yet_is_not_forgotten() -> None:
    ledger = Ledger({})
    repeats = Repeats(ledger, sessions_max=1)
    for batch, session in enumerate(["s1", "s2", "s3"]):
        repeats.begin(batch, [session])
        repeats.observe(events((session, "runtime", 0)))
    repeats.forget(0)
    assert len(repeats) == 3
    repeats.forget(1)
    assert len(repeats) == 2
    repeats.forget(3)
    assert len(repeats) == 1
    repeats.begin(3, ["s1", "s3"])
    assert ledger.asked[-1] == (3, ["s1"])
