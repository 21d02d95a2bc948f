"""What a rule finds is masked and marked; a rule that fails lets nothing out; no text takes for ever."""

import json
import time
from typing import Any

import pytest

from procurator.errors import UserError
from procurator.events import SESSION_STARTED, TURN_RECORDED, kind_of
from procurator.producers import Pattern, Procurator
from procurator.producers.detectors import BUILT_IN
from procurator.producers.memory import MemoryTransport
from procurator.producers.redaction import Redactor, Rule

CARD = "4111 1111 1111 1111"


def masked(text: str, *rules: Rule) -> tuple[str, list[dict[str, Any]]]:
    payload = {"content": text}
    marks = Redactor(rules or tuple(BUILT_IN)).redact(payload)
    return payload["content"], marks


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("api_key", "sk-proj-Abcdefghijklmnop_1234"),
        ("api_key", "sk-ant-api03-abcdefghijklmnop-1234"),
        ("api_key", "AKIAIOSFODNN7EXAMPLE"),
        ("api_key", "ghp_" + "a1B2" * 9),
        ("api_key", "AIza" + "b" * 35),
        ("api_key", "xoxb-123456789012-abcdefghij"),
        ("api_key", "sk_live_abcdefghijklmnop"),
        ("api_key", "-----BEGIN RSA PRIVATE KEY-----\nMIIE+/=\nabc\n-----END RSA PRIVATE KEY-----"),
        ("token", "Bearer abcdefghijklmnop.qrst"),
        ("token", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"),
        ("email", "ada.lovelace+x@mail.example.org"),
        ("card", CARD),
        ("card", "4111111111111111"),
        ("card", "5555-5555-5555-4444"),
        ("card", "378282246310005"),
        ("card", "3782 822463 10005"),
        ("card", "6011111111111117"),
        ("card", "30569309025904"),
    ],
)
def test_each_detector_finds_what_it_is_for(rule: str, text: str) -> None:
    assert masked(f"see ({text}), please") == (
        f"see ([redacted:{rule}]), please",
        [{"field": "content", "rule": rule, "count": 1}],
    )


@pytest.mark.parametrize(
    "text",
    [
        "task-force, sk-short, risk-abcdefghijklmnopqrstuv",
        "the bearer of bad news; eyJ.x.y",
        "a@b, user@, @example.org, 3 @ 4.50",
        "4111 1111 1111 1112",  # Luhn
        "0000 0000 0000 0000",  # nobody's
        "order 1234567890123, in 2026-11-22 20:24:41",
        "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
    ],
)
def test_what_only_looks_alike_is_left_alone(text: str) -> None:
    assert masked(text) == (text, [])


def test_cards_are_found_among_other_digits() -> None:
    text, marks = masked(f"{CARD} 12 {CARD} 123456789 41 {CARD}", "card")
    assert text == "[redacted:card] 12 [redacted:card] 123456789 41 [redacted:card]"
    assert marks[0]["count"] == 3


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize(
    "piece",
    [
        "eyJ-",
        "a",
        "a@",
        "a.",
        "1",
        "1 ",
        "4111 ",
        "444-",
        "sk-",
        "bearer ",
        "-----BEGIN PRIVATE KEY-----",
        "a@a.",
        "AKIA",
    ],
)
def test_no_text_takes_more_than_linear_time(name: str, piece: str) -> None:
    def took_s(size: int) -> float:
        text = piece * (size // len(piece))
        began = time.process_time()
        BUILT_IN[name](text, "x")
        return time.process_time() - began

    # A megabyte; what grows with the square takes minutes.
    assert took_s(1_000_000) < 5.0


def test_own_patterns_and_functions_are_rules_like_any_other() -> None:
    def shout(text: str) -> str:
        return text.replace("secret", "[redacted:shout]")

    text, marks = masked("T-123456 is secret, T-654321 too", Pattern("ticket", r"T-\d{6}"), shout)
    assert text == "[redacted:ticket] is [redacted:shout], [redacted:ticket] too"
    assert [(mark["rule"], mark["count"]) for mark in marks] == [("ticket", 2), ("shout", 1)]


def test_a_rule_that_fails_masks_everything(caplog: pytest.LogCaptureFixture) -> None:
    def breaks(text: str) -> str:
        raise RuntimeError(f"cannot handle {text}")

    def forgets(text: str) -> str:
        return None  # type: ignore[return-value]

    for rule in (breaks, forgets):
        redactor = Redactor([rule])
        for _ in range(2):
            payload = {"content": "my password is hunter2", "thinking": "hunter2?"}
            marks = redactor.redact(payload)
            assert payload == {"content": f"[redacted:{rule.__name__}]", "thinking": f"[redacted:{rule.__name__}]"}
            assert len(marks) == 2
    assert len(caplog.messages) == 2
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("(a+)+$", "an unbounded repeat within another, which may take for ever"),
        ("(?:a|b*)*c", "an unbounded repeat within another"),
        (r"(a)\1", "it refers back to a group"),
        ("(", "missing \\)"),
    ],
)
def test_a_pattern_that_may_take_for_ever_is_refused(expression: str, message: str) -> None:
    with pytest.raises(UserError, match=f"redaction: slow: {message}"):
        Pattern("slow", expression)
    with pytest.raises(UserError, match="redaction: 'No Name' is no name"):
        Pattern("No Name", "a")
    with pytest.raises(UserError, match="redaction: 'phone' is none of api_key, token, email, card"):
        Redactor(["phone"])


def test_json_is_looked_at_value_by_value_and_stays_json() -> None:
    payload = {
        "input": '{"to": "ada\\u0040example.org", "card": 4111111111111111, "n": [1.5, true, null]}',
        "output": '{"nothing" :  "here"}',
        "parameters": '{"broken": ada@example.org',
    }
    marks = Redactor(BUILT_IN).redact(payload)
    assert json.loads(payload["input"]) == {"to": "[redacted:email]", "card": "[redacted:card]", "n": [1.5, True, None]}
    assert payload["output"] == '{"nothing" :  "here"}'
    assert payload["parameters"] == '{"broken": [redacted:email]'
    assert [(mark["field"], mark["rule"]) for mark in marks] == [
        ("input", "email"),
        ("input", "card"),
        ("parameters", "email"),
    ]


def test_nothing_raw_leaves_a_session() -> None:
    transport = MemoryTransport()
    secret = "ada@example.org"
    procurator = Procurator(transport=transport, redact=["email"], environment={})

    def agent() -> None:
        with procurator, procurator.session(labels={"who": secret}) as session:
            session.turn("user", f"I am {secret}", thinking=f"{secret}?")
            with pytest.raises(ValueError), session.tool_call("mail", {"to": [secret]}):
                raise ValueError(f"no such user: {secret}")
            with session.model_call("openai", "gpt-4o", parameters={"user": secret}) as call:
                call.complete(status="ERROR", error_message=secret)
            session.request_approval(f"write to {secret}")
            raise RuntimeError(f"gave up on {secret}")

    with pytest.raises(RuntimeError):
        agent()
    assert not any(secret.encode() in value for _, value in transport.records)
    marks = {kind_of(event): {mark["field"] for mark in event["redactions"]} for event in transport.events}
    assert marks["SessionStarted"] == {"labels.who"}
    assert marks["TurnRecorded"] == {"content", "thinking"}
    assert marks["SessionEnded"] == {"error.message", "error.stack"}


def test_it_is_off_unless_rules_are_given_and_the_environment_may_give_them() -> None:
    for environment, expected in (({}, "ada@example.org"), ({"PROCURATOR_REDACT": "email, card"}, "[redacted:email]")):
        transport = MemoryTransport()
        with Procurator(transport=transport, environment=environment) as procurator, procurator.session() as session:
            session.turn("user", "ada@example.org")
            kinds = [event["payload"] for event in transport.events]
        assert kinds[0][0] == SESSION_STARTED
        assert kinds[1] == (TURN_RECORDED, {**kinds[1][1], "content": expected})


def test_an_imported_event_is_masked_too() -> None:
    transport = MemoryTransport()
    with Procurator(transport=transport, environment={}) as procurator, procurator.session() as session:
        session.turn("user", "ada@example.org")
    other = MemoryTransport()
    with Procurator(transport=other, redact=["email"], environment={}) as procurator:
        for event in transport.events:
            procurator.publish(event)
    assert other.events[1]["payload"][1]["content"] == "[redacted:email]"
    assert other.events[1]["redactions"] == [{"field": "content", "rule": "email", "count": 1}]
    assert transport.events[1]["payload"][1]["content"] == "ada@example.org"
