"""The queue is bounded, numbers what it accepts, and says exactly who may stop waiting."""

import threading
import time

import pytest

from procurator.errors import Backpressure
from procurator.producers.errors import Dropped, Unconfirmed
from procurator.producers.outbox import OnFull, Outbox, QueuePolicy


def outbox(on_full: OnFull = "spool", wait_s: float = 0.01, events_max: int = 3, bytes_max: int = 1000) -> Outbox:
    return Outbox(QueuePolicy(on_full, wait_s, events_max, bytes_max))


def fill(box: Outbox, count: int, size: int = 10) -> None:
    with box.lock:
        for n in range(count):
            record = (b"k%d" % (n % 2), bytes(size))
            assert box.has_room(record)
            box.append(record)


def test_it_is_bounded_in_events_and_bytes_but_takes_any_single_event() -> None:
    box = outbox()
    fill(box, 3)
    assert not box.has_room((b"k", b""))
    large = outbox()
    fill(large, 1, 5_000)
    assert not large.has_room((b"k", b""))
    assert large.over_half


@pytest.mark.parametrize(("on_full", "error"), [("block", Backpressure), ("drop", Dropped), ("spool", Dropped)])
def test_an_event_without_room_is_refused_by_policy(on_full: OnFull, error: type[Backpressure]) -> None:
    box = outbox(on_full)
    with box.lock, pytest.raises(Backpressure) as refused:
        box.await_room(time.monotonic() + box.policy.wait_s)
    assert type(refused.value) is error


def test_a_hopeless_disk_is_not_waited_for() -> None:
    box = outbox("spool", wait_s=60)
    box.hopeless = "No space left on device"
    with box.lock, pytest.raises(Dropped, match="No space left on device"):
        box.await_room(time.monotonic() + 60)


def test_room_wakes_who_waits_for_it() -> None:
    box = outbox("block", wait_s=30)
    fill(box, 3)
    with box.lock:
        threading.Timer(0.02, box.take, (1, 10_000)).start()  # which needs the lock
        box.await_room(time.monotonic() + 30)
        assert box.has_room((b"k", b""))


def test_what_is_taken_is_the_oldest_and_what_is_put_back_is_older_still() -> None:
    box = outbox(events_max=100)
    fill(box, 6)
    first = box.take(4, 25)
    assert len(first) == 2
    box.put_back(first)
    assert box.take(100, 10_000)[:2] == first
    assert len(box) == 0


def test_receipts_are_answered_when_nothing_before_them_waits() -> None:
    box = outbox(events_max=100)
    fill(box, 2)
    safe, delivered = box.ask(safe=True, patience_s=0), box.ask(safe=False)
    assert (box.asked, box.safety_asked, box.due) == (True, True, True)
    box.answer(safe=True, delivered=True)
    assert not safe.done.is_set()
    box.take(2, 1_000)
    fill(box, 1)  # newer than the receipts
    box.answer(safe=True, delivered=False)
    assert (safe.done.is_set(), delivered.done.is_set()) == (True, False)
    box.answer(safe=True, delivered=True)
    assert delivered.done.is_set()
    assert not box.asked


def test_what_waits_is_counted_by_session() -> None:
    box = outbox(events_max=100)
    fill(box, 3)
    assert box.unconfirmed() == [Unconfirmed("k0", 2), Unconfirmed("k1", 1)]
