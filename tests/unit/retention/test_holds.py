"""Legal holds: by session, by filter, until they are released."""

from dataclasses import replace
from typing import Any

import pytest

from procurator.errors import UserError
from procurator.retention.holds import HoldFilter, SessionFacts, held_by, in_force

SESSION = SessionFacts("s1", "acme", "payments", "clerk", "ada", {"case": "4711", "env": "a b"}, 0)


def body(hold_id: str = "h", **fields: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {"org_id": "acme", "session_ids": [], "filter": None, "released": False}
    return {"hold_id": hold_id, **plain, "requested_by": "counsel", "reason": "lawsuit", **fields}


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("org:acme", True),
        ("org:acme team:payments agent:clerk user:ada label:case=4711", True),
        ('org:acme label:"env=a b"', True),
        ("org:acme team:other", False),
        ("org:acme user:bo", False),
        ("org:acme label:case=4712", False),
        ("org:acme label:none=4711", False),
        ("org:other", False),
    ],
)
def test_a_filter_is_a_conjunction(text: str, fits: bool) -> None:
    held = HoldFilter.parse(text)
    assert held.matches(SESSION) is fits
    assert HoldFilter.parse(str(held)) == held


@pytest.mark.parametrize("text", ["", "org", "org:", "nothing:x", 'org:"x', "org:acme label:case", "org:a; drop"])
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        HoldFilter.parse(text)


def test_a_value_with_anything_in_it_reads_back() -> None:
    for value in ('a"b', "a\\b", "a b:c", "ü", "line\nbreak"):
        held = HoldFilter((("org", "acme"), ("user", value)))
        assert HoldFilter.parse(str(held)) == held


def test_a_released_hold_holds_nothing_and_a_later_one_again() -> None:
    bodies = [body(session_ids=["s1"]), body(released=True)]
    assert in_force(bodies) == {}
    again = in_force([*bodies, body("again", filter="org:acme user:ada")])
    assert held_by(again.values(), SESSION) is again["again"]


def test_a_session_is_held_by_its_id_or_by_a_filter_of_its_organisation() -> None:
    by_id = in_force([body(session_ids=["s1"])])
    assert held_by(by_id.values(), SESSION)
    assert not held_by(by_id.values(), replace(SESSION, session_id="s2"))
    other = in_force([body(org_id="other", filter="org:acme")])
    assert not held_by(other.values(), SESSION)


def test_a_filter_of_a_later_version_holds_the_whole_organisation() -> None:
    holds = in_force([body(filter="org:acme mood:grim")])
    assert held_by(holds.values(), SESSION)
    assert not held_by(holds.values(), replace(SESSION, org_id="other"))
