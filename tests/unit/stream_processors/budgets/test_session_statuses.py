"""`procurator.stream_processors.budgets.session_statuses`: what the topic of statuses does not keep."""

from typing import Any

from procurator.budgets.records import status_key
from procurator.stream_processors.budgets.session_statuses import KEPT_US, SessionStatuses

NOW_US = 1_790_000_000_000_000


def status(session_id: str | None, budget_id: str = "b1") -> tuple[bytes, dict[str, Any]]:
    record = {"budget_id": budget_id, "session_id": session_id, "updated_at": NOW_US}
    return status_key(budget_id, 0, session_id), record


def test_a_session_that_is_over_takes_its_status_out_of_the_topic_a_day_later() -> None:
    statuses = SessionStatuses()
    heard = [status("s1"), status("s2"), status(None)]
    over = heard[0][0]
    for key, record in heard:
        statuses.heard(key, record)

    def gone(at_us: int) -> list[bytes]:
        return statuses.over(at_us, lambda _: False, lambda session_id: session_id == "s1")

    assert gone(NOW_US + KEPT_US) == []
    assert gone(NOW_US + KEPT_US + 1) == [over]
    statuses.heard(over, None)
    assert gone(NOW_US + KEPT_US + 2) == []


def test_those_of_a_deleted_budget_go_at_once() -> None:
    statuses = SessionStatuses()
    for key, record in (status("s1"), status("s1", "b2")):
        statuses.heard(key, record)
    assert statuses.over(NOW_US, lambda budget_id: budget_id == "b2", lambda _: False) == [status("s1", "b2")[0]]
