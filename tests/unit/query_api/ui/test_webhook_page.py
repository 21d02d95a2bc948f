"""What the page of a webhook says of it: well, failing, stopped, with dead letters and with what was asked for."""

from datetime import UTC, datetime
from typing import Any

from procurator.access import Permission, Principal
from procurator.config import Settings
from procurator.query_api.models.webhooks import WebhookModel, dead_letter_json, webhook_json
from procurator.query_api.ui.assets import Assets
from procurator.query_api.ui.formats import Clock
from procurator.query_api.ui.navigation import places_for
from procurator.query_api.ui.page import environment
from procurator.webhooks.endpoint import Endpoint, Filter, Format, Request, RequestKind, Secret
from procurator.webhooks.state import DeadLetter, Entries, Outcome, State

_NOW = datetime(2026, 11, 22, 19, 0, 0, tzinfo=UTC)
_US = int(_NOW.timestamp()) * 1_000_000
_ASKED = Request("0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d", RequestKind.REPLAY, _US, "key:admin", sequence=7)
_ENDPOINT = Endpoint(
    endpoint_id="0123456789abcdef",
    org_id=None,
    name="<Night> watch",
    url="https://siem.example/x",
    format=Format.OCSF,
    filter=Filter(frozenset({"SessionEnded"}), frozenset({"payments"}), frozenset({"billing"})),
    enabled=True,
    secrets=(Secret(b"new", _US), Secret(b"old", _US - 1, _US + 60_000_000)),
    token=None,
    requests=(_ASKED,),
    revision=3,
    created_at=_US,
    created_by="key:admin",
    changed_at=_US,
    changed_by="key:admin",
)


def _page(state: State | None, letters: tuple[DeadLetter, ...] = (), endpoint: Endpoint = _ENDPOINT) -> str:
    principal = Principal("key:admin", None, frozenset({Permission.ADMIN}))
    shell: dict[str, Any] = {"places": places_for(principal), "theme": "", "here": "/", "active": "webhooks"}
    own = {"principal": principal, "clock": Clock.of("UTC", _NOW), "csrf": "token"}
    hook = WebhookModel.model_validate(webhook_json(endpoint, state, len(letters), _US))
    templates = environment(Settings(), Assets.read())
    shown = [dead_letter_json(letter) for letter in letters]
    return templates.get_template("webhook.html").render(**shell, **own, hook=hook, letters=shown)


def test_one_that_nobody_has_seen_yet_asks_for_itself_again() -> None:
    text = _page(None)
    assert "starting" in text
    assert 'id="state" data-refresh' in text
    assert "&lt;Night&gt; watch" in text
    assert "every one" in text
    assert "its receiver has taken everything so far" in text


def test_one_that_fails_says_why_and_offers_each_dead_letter_again() -> None:
    state = State(
        _ENDPOINT.endpoint_id,
        {"log:0": 12},
        next_sequence=9,
        delivered=1_234,
        failures=2,
        retry_at=_US + 5_000_000,
        last_error="HTTP 500",
        last_test=Outcome(_ASKED.request_id, _US, False, 401, "not known here", 12.5),
    )
    text = _page(state, (DeadLetter(_ENDPOINT.endpoint_id, 7, (Entries("log:0", (3, 4)),), _US, "too large", 413, 3),))
    for said in ("failing", "2 attempts failed", "HTTP 500", "1,234", "not taken", "not known here", "too large"):
        assert said in text
    assert 'aria-label="Replay number 7"' in text
    assert "The delivery of dead letters was asked for" in text


def test_one_that_is_stopped_says_what_makes_it_go_on() -> None:
    state = State(
        _ENDPOINT.endpoint_id,
        {},
        handled=(_ASKED.request_id,),
        stopped_revision=3,
        stopped_reason="it answered 410 Gone",
    )
    text = _page(state)
    assert "Stopped: <bdi>it answered 410 Gone</bdi>. It goes on once it is changed." in text
    assert "data-refresh" not in text, "nothing is under way"
