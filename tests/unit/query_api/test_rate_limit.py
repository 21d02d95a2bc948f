"""The token buckets: how many requests pass, and how long the others wait."""

from hypothesis import given
from hypothesis import strategies as st

from procurator.query_api.rate_limit import RateLimiter, RatePolicy


def test_a_burst_passes_then_one_by_one() -> None:
    limiter = RateLimiter(RatePolicy(per_s=2, burst=3))
    assert [limiter.wait_s("ann", 0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert limiter.wait_s("ann", 0.25) == 0.25
    assert limiter.wait_s("ann", 0.5) == 0
    assert limiter.wait_s("ann", 0.5) == 0.5


def test_each_principal_has_a_bucket_of_its_own() -> None:
    limiter = RateLimiter(RatePolicy(per_s=1, burst=1))
    assert limiter.wait_s("ann", 0) == 0
    assert limiter.wait_s("bob", 0) == 0
    assert limiter.wait_s("ann", 0) == 1


def test_zero_sets_no_limit() -> None:
    limiter = RateLimiter(RatePolicy(per_s=0, burst=1))
    assert not any(limiter.wait_s("ann", 0) for _ in range(100))


@given(st.lists(st.floats(0, 10), max_size=60), st.integers(1, 5), st.floats(0.1, 10))
def test_never_more_pass_than_the_policy_says(pauses: list[float], burst: int, per_s: float) -> None:
    limiter = RateLimiter(RatePolicy(per_s, burst))
    now_s, passed = 0.0, 0
    for pause in pauses:
        now_s += pause
        passed += limiter.wait_s("ann", now_s) == 0
    assert passed <= burst + now_s * per_s + 1e-6


def test_a_clock_that_goes_back_gives_nothing_away() -> None:
    limiter = RateLimiter(RatePolicy(per_s=1, burst=1))
    assert limiter.wait_s("ann", 10) == 0
    assert limiter.wait_s("ann", 5) == 1
