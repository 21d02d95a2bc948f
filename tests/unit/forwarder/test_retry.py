"""What an answer means, how long to wait, when to give up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procurator.forwarder.retry import RetryPolicy, Verdict, judge, retry_after_s

POLICY = RetryPolicy()
_NOON_S = 1_795_348_800.0


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        *((code, Verdict.TAKEN) for code in (200, 201, 204, 299)),
        *((code, Verdict.LATER) for code in (None, 301, 302, 307, 401, 403, 404, 408, 425, 429, 500, 502, 503)),
        *((code, Verdict.REFUSED) for code in (400, 413, 422)),
        (410, Verdict.GONE),
    ],
)
def test_what_a_status_means(status: int | None, verdict: Verdict) -> None:
    assert judge(status) is verdict


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Sun, 22 Nov 2026 12:00:30 GMT", 30.0),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0.0),
        ("Sun, 22 Nov 2026 12:00:30 -0000", 30.0),
        ("9" * 500, 999_999_999.0),
        *((text, None) for text in (None, "", "soon", "-1", "1.5", "²", "Sun, 99 Nov 2026 12:00:30 GMT")),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, wait_s: float | None) -> None:
    assert retry_after_s(value, _NOON_S) == wait_s


@given(failures=st.integers(1, 10_000), chance=st.floats(0, 1), asked_s=st.none() | st.floats(0, 1e9))
def test_waits_stay_within_their_bounds_and_honour_what_was_asked_for(
    failures: int, chance: float, asked_s: float | None
) -> None:
    wait_s = POLICY.delay_s(failures, chance, asked_s)
    assert POLICY.first_s / 2 <= wait_s <= max(POLICY.most_s, POLICY.retry_after_s_max)
    assert wait_s >= min(asked_s or 0.0, POLICY.retry_after_s_max)
    if POLICY.breaker_open(failures):
        assert wait_s >= POLICY.open_s / 2


def test_waits_double() -> None:
    waits = [POLICY.delay_s(failures, 0.0, None) for failures in range(1, 12)]
    assert waits == [1, 2, 4, 8, 30, 32, 64, 128, 256, 300, 300]


def test_when_it_is_given_up() -> None:
    assert not POLICY.gives_up(Verdict.REFUSED, 1, 2, 0.0)
    assert POLICY.gives_up(Verdict.REFUSED, 1, 3, 0.0)
    assert not POLICY.gives_up(Verdict.REFUSED, 2, 99, 1e9), "it is halved instead"
    assert not POLICY.gives_up(Verdict.LATER, 1, 99, 86_399.0)
    assert POLICY.gives_up(Verdict.LATER, 500, 1, 86_400.0)
