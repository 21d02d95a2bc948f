"""Which command is carried out, and which gets the answer of an earlier one."""

import pytest

from procurator.query_api import idempotency
from procurator.query_api.idempotency import KEPT_S, Answers, Repeated
from procurator.query_api.problems import Problem

ANN = ("key:ann", "first")


def test_a_command_that_was_answered_is_not_carried_out_again() -> None:
    answers = Answers()
    answers.begin(ANN, b"terminate")
    answers.end(ANN, 202, "application/json", b"{}")
    with pytest.raises(Repeated) as repeated:
        answers.begin(ANN, b"terminate")
    assert (repeated.value.kept.status, repeated.value.kept.body) == (202, b"{}")
    answers.begin(("key:bob", "first"), b"terminate")


@pytest.mark.parametrize(("request_", "status"), [(b"terminate", 409), (b"approve", 422)])
def test_a_key_under_way_or_of_another_request_is_refused(request_: bytes, status: int) -> None:
    answers = Answers()
    answers.begin(ANN, b"terminate")
    with pytest.raises(Problem) as refused:
        answers.begin(ANN, request_)
    assert refused.value.status == status


def test_what_failed_may_be_sent_again() -> None:
    answers = Answers()
    answers.begin(ANN, b"terminate")
    answers.end(ANN, 503, "application/problem+json", b"{}")
    answers.begin(ANN, b"terminate")


def test_answers_are_kept_for_a_day_and_not_without_number(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    answers = Answers(lambda: now_s)
    answers.begin(ANN, b"terminate")
    answers.end(ANN, 202, "", b"")
    now_s = KEPT_S
    answers.begin(ANN, b"terminate")
    monkeypatch.setattr(idempotency, "KEPT_MAX", 1)
    answers.begin(("key:bob", "first"), b"")
    answers.begin(ANN, b"another")
