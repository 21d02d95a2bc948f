"""Endpoints: what they let through, how their secrets turn over, what is kept of them."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.events import NAMESPACE
from procurator.webhooks.endpoint import (
    AUDIT_EVENT,
    CHECKPOINT,
    KINDS,
    SESSION_KINDS,
    Endpoint,
    Filter,
    Format,
    Request,
    RequestKind,
    Secret,
    Subject,
)
from procurator.webhooks.state import DeadLetter, Entries, Outcome, State

_ENDPOINT = Endpoint(
    endpoint_id="u44ii41qfemx9eku",
    org_id="acme",
    name="SIEM",
    url="https://siem.example.com/",
    format=Format.OCSF,
    filter=Filter(frozenset({"SessionEnded", AUDIT_EVENT}), frozenset({"payments"}), frozenset({"billing"})),
    enabled=True,
    secrets=(Secret(b"new", 5), Secret(b"old", 1, 90)),
    token=b"sealed",
    requests=(Request("r", RequestKind.BACKFILL, 7, "ann", log_id="l", offset=3),),
    revision=2,
    created_at=1,
    created_by="ann",
    changed_at=5,
    changed_by="bob",
)


def _read_back(stem: str, record: dict[str, Any]) -> dict[str, Any]:
    schema = load_schema(stem)
    return Decoder(schema, lambda _id: schema.text).decode(schema.encode(record, 1))


def test_records_keep_everything() -> None:
    assert Endpoint.from_record(_read_back("webhook_endpoint", _ENDPOINT.to_record())) == _ENDPOINT
    test = Outcome("r", 4, True, 204, "", 12.5)
    batch = (Entries("a", (1, 5)), Entries("b", (9,)))
    state = State("e", {"a": 1, "b": 2}, 40, batch, {"a": 6, "b": 10}, ("r",), failures=2, last_test=test)
    assert State.from_record(_read_back("webhook_state", state.to_record())) == state
    letter = DeadLetter("e", 40, batch, 8, "422: no", 422, 3)
    assert DeadLetter.from_record(_read_back("webhook_dead_letter", letter.to_record())) == letter


def test_what_a_later_version_writes_is_an_error_that_says_so() -> None:
    with pytest.raises(ValueError, match="CEF"):
        Endpoint.from_record({**_ENDPOINT.to_record(), "format": "CEF"})


def test_every_kind_of_event_can_be_asked_for() -> None:
    names = {
        branch["name"]
        for field in load_schema("session_event").raw["fields"]
        if field["name"] == "payload"
        for branch in field["type"]
    }
    assert {name.removeprefix(NAMESPACE) for name in names} == set(SESSION_KINDS)


_NAMES = st.sampled_from(["x", "y", "z"])
_FILTERS = st.builds(
    Filter, st.frozensets(st.sampled_from(KINDS)), st.frozensets(_NAMES), st.frozensets(_NAMES, max_size=2)
)


@given(
    chosen=_FILTERS, org=st.none() | _NAMES, kind=st.sampled_from(KINDS), entry_org=_NAMES, team=_NAMES, agent=_NAMES
)
def test_a_filter_never_reaches_beyond_its_organisation_its_teams_or_its_kinds(
    chosen: Filter, org: str | None, kind: str, entry_org: str, team: str, agent: str
) -> None:
    if kind == CHECKPOINT:
        assert chosen.matches(org, Subject(kind, None, None, None)) == (kind in chosen.kinds)
        return
    expected = kind in chosen.kinds and org in (None, entry_org)
    expected = expected and (not chosen.owner_team_ids or team in chosen.owner_team_ids)
    if kind != AUDIT_EVENT:
        expected = expected and (not chosen.agent_ids or agent in chosen.agent_ids)
    assert chosen.matches(org, Subject(kind, entry_org, team, agent)) == expected


@given(chosen=_FILTERS)
def test_a_filter_without_a_problem_can_match_something(chosen: Filter) -> None:
    subjects = [
        Subject(kind, "acme", team, agent)
        for kind in chosen.kinds
        for team in chosen.owner_team_ids or {"t"}
        for agent in chosen.agent_ids or {"a"}
    ]
    assert (chosen.problem is None) <= any(chosen.matches("acme", subject) for subject in subjects)


def test_a_rotation_overlaps_and_never_lengthens_a_secrets_time() -> None:
    rotated = _ENDPOINT.rotated(b"newest", 50, "ann", 60)
    assert rotated.secrets == (Secret(b"newest", 60), Secret(b"new", 5, 110), Secret(b"old", 1, 90))
    assert [secret.sealed for secret in rotated.signing(100)] == [b"newest", b"new"]
    assert rotated.rotated(b"last", 0, "ann", 61).secrets == (Secret(b"last", 61),)
    assert rotated.revision == _ENDPOINT.revision


def test_a_change_is_a_new_revision_and_a_request_replaces_one_of_its_kind() -> None:
    assert _ENDPOINT.changed("ann", 9, enabled=False).revision == 3
    later = Request("s", RequestKind.BACKFILL, 8, "ann", from_time=1)
    test = Request("t", RequestKind.TEST, 8, "ann")
    asked = _ENDPOINT.asked(later).asked(test)
    assert asked.requests == (later, test)
    assert replace(asked, requests=_ENDPOINT.requests) == _ENDPOINT
