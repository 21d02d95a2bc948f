"""`procurator.clock`: nothing is rounded on the way to the wire and back."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procurator.clock import from_us, to_rfc3339, to_us


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2262, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_microseconds_survive_the_round_trip(moment: datetime) -> None:
    assert from_us(to_us(moment)) == moment


def test_another_time_zone_is_the_same_instant() -> None:
    moment = datetime(2026, 11, 22, 18, 0, tzinfo=timezone(timedelta(hours=2)))
    assert to_rfc3339(to_us(moment)) == "2026-11-22T16:00:00.000000Z"


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="^a datetime without a time zone has no place on the wire$"):
        to_us(datetime(2026, 1, 1))  # noqa: DTZ001
