"""`procurator.query_api.liveness`: who is shown as terminating, who as stalled."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from procurator import signals
from procurator.clock import to_us
from procurator.config import Settings
from procurator.query_api.liveness import Liveness
from procurator.registry import Registry

NOW = datetime(2026, 11, 22, 16, tzinfo=UTC)
SESSION = "0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d"


@pytest.fixture
def liveness() -> Liveness:
    settings = Settings(stalled_after_s=90)
    return Liveness(settings, Registry(settings.schema_registry_url), lambda: NOW)


def session(silent_s: float = 0, status: str = "RUNNING", *, imported: bool = False) -> dict[str, Any]:
    as_of = (NOW - timedelta(seconds=silent_s)).isoformat().replace("+00:00", "Z")
    return {"session_id": SESSION, "status": status, "imported": imported, "as_of": as_of}


def test_an_open_session_that_was_told_to_end_shows_by_whom_and_why(liveness: Liveness) -> None:
    assert liveness.shown(session())["terminating"] is None
    now_us = to_us(NOW)
    first = signals.terminate_by("ann", SESSION, "acme", "it loops", now_us)
    for signal in (first, signals.terminate_late(SESSION, "acme", 5, now_us + 1)):
        liveness.terminations.note(signal, now_us)
    assert liveness.shown(session(status="PENDING_APPROVAL"))["terminating"] == {
        "signal_id": first["signal_id"],
        "cause": "PRINCIPAL",
        "requested_by": "ann",
        "reason": "it loops",
        "requested_at": "2026-11-22T16:00:00.000000Z",
    }
    assert liveness.shown(session(status="TERMINATED"))["terminating"] is None


def test_what_is_no_order_to_end_or_long_over_shows_nothing(liveness: Liveness) -> None:
    now_us = to_us(NOW)
    resume = signals.decided(SESSION, "acme", "a", "APPROVED", "ann", None, now_us)
    old = signals.terminate_by("ann", SESSION, "acme", "", now_us - 3_600_000_001)
    for signal in (resume, old):
        liveness.terminations.note(signal, now_us)
    assert liveness.shown(session())["terminating"] is None


@pytest.mark.parametrize(
    ("shown", "stalled"),
    [
        (session(90), False),
        (session(90.001), True),
        (session(91, "PENDING_APPROVAL"), True),
        (session(91, "COMPLETED"), False),
        (session(91, imported=True), False),
    ],
)
def test_an_open_session_is_stalled_when_nothing_comes_from_it(
    liveness: Liveness, shown: dict[str, Any], stalled: bool
) -> None:
    assert liveness.shown(shown)["stalled"] is stalled
