"""When records become a block."""

from procurator.sink.batching import BatchPolicy, BatchState

POLICY = BatchPolicy(rows_max=100, bytes_max=1_000, age_s=0.2, age_s_max=1.0, share_max=0.25)


def test_an_empty_batch_is_never_due() -> None:
    assert not BatchState().is_due(POLICY, now_s=1e9)


def test_a_batch_is_due_when_its_first_record_has_waited() -> None:
    batch = BatchState()
    batch.add(1, 10, now_s=5.0)
    batch.add(1, 10, now_s=5.15)
    assert not batch.is_due(POLICY, now_s=5.19)
    assert batch.is_due(POLICY, now_s=5.21)


def test_a_batch_waits_longer_where_inserting_is_slow_but_not_for_ever() -> None:
    assert [POLICY.age_after(spent_s) for spent_s in (0.0, 0.05, 0.1, 60.0)] == [0.2, 0.2, 0.4, 1.0]
    batch = BatchState()
    batch.add(1, 10, now_s=5.0)
    assert batch.is_due(POLICY, now_s=5.3, spent_s=0.05)
    assert not batch.is_due(POLICY, now_s=5.3, spent_s=0.1)
    batch.add(100, 10, now_s=5.1)
    assert batch.is_due(POLICY, now_s=5.3, spent_s=0.1)


def test_a_batch_full_of_rows_or_bytes_is_due_at_once() -> None:
    rows, size = BatchState(), BatchState()
    rows.add(100, 10, now_s=5.0)
    size.add(1, 1_000, now_s=5.0)
    assert rows.is_due(POLICY, now_s=5.0)
    assert size.is_due(POLICY, now_s=5.0)


def test_what_is_left_keeps_its_age_and_nothing_left_has_none() -> None:
    batch = BatchState()
    batch.add(150, 1_500, now_s=5.0)
    batch.remove(100, 1_000)
    assert batch.is_due(POLICY, now_s=5.3)
    batch.remove(50, 500)
    assert batch == BatchState()
