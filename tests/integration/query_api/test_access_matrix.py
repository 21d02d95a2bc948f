"""Every route × every permission × own team, other team, other organisation, no team: who gets in, and what they see.

`RULES` and `OPEN` say it in the open; a route that is in neither fails. Beside the status, no answer whatever may hold
a mark of a session that its caller may not see.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from time import monotonic
from typing import Any
from uuid import uuid4

import pytest
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient

from procurator.access import Permission, Principal
from procurator.config import Settings
from procurator.query_api.app import create_app
from procurator.query_api.auth import AdminKey

READ, READ_ALL, TERMINATE = Permission.SESSIONS_READ, Permission.SESSIONS_READ_ALL, Permission.SESSIONS_TERMINATE
EXPORT, BUDGETS, VERIFY, ADMIN = (
    Permission.SESSIONS_EXPORT,
    Permission.BUDGETS_WRITE,
    Permission.LEDGER_VERIFY,
    Permission.ADMIN,
)
#: What opens a route beside the permission that its rule names.
INCLUDED_IN: dict[Permission, set[Permission]] = {
    **{permission: {permission, ADMIN} for permission in Permission},
    READ: {READ, READ_ALL, ADMIN},
}


@dataclass(frozen=True)
class Rule:
    """The permission that a route needs, and what it answers about what lies outside the caller's scope.

    ``outside`` None: there is nothing to lie outside, a list is merely shorter. ``by_org``: teams make no difference.
    ``of_maker``: only `MAKER`, who made it, and the administrators of the organisation see it.
    ``endless``: a stream that is only asked when it refuses (tests/integration/query_api/test_live.py has the rest).
    """

    permission: Permission
    outside: int | None = None
    by_org: bool = False
    of_maker: bool = False
    endless: bool = False
    json: Any = None
    form: Any = None
    query: str = ""


_BUDGET = {"name": "b", "org_id": "acme", "scope": "TEAM", "scope_id": "payments", "limit": "1", "period": "DAY"}
_BUDGET["thresholds"] = [{"fraction": "1", "action": "NOTIFY"}]  # type: ignore[assignment]
_KEY = {"name": "k", "org_id": "acme", "permissions": ["ledger:verify"]}
_WEBHOOK = {"name": "w", "url": "https://siem.example.com/"}
_ONE_WEBHOOK = "/v1/webhooks/{endpoint_id}"
_SESSION = "/v1/sessions/{session_id}"
_PAGE = "/sessions/{session_id}"
_HOOK_PAGE = "/webhooks/{endpoint_id}"
_PARTS = ("", "/timeline", "/cost", "/proof", "/header", "/tools", "/events")

#: Open to everybody: they say nothing about the ledger.
OPEN = {
    *(("GET", path) for path in ("/openapi.json", "/healthz", "/readyz", "/metrics", "/favicon.ico", "/signin")),
    ("GET", "/static/{digest}/{name}"),
    *(("POST", path) for path in ("/signin", "/signin/links", "/signout")),
}
RULES = {
    ("GET", "/v1/sessions"): Rule(READ),
    **{("GET", _SESSION + part): Rule(READ, 404) for part in ("", "/turns", "/tool-calls", "/model-calls", "/events")},
    ("GET", _SESSION + "/stream"): Rule(READ, 404, endless=True),
    ("GET", "/v1/stream"): Rule(READ, endless=True),
    ("GET", _SESSION + "/seal"): Rule(EXPORT, 404),
    **{("POST", f"{_SESSION}/{verb}"): Rule(TERMINATE, 404) for verb in ("terminate", "approve", "deny")},
    ("POST", "/v1/sessions/terminate"): Rule(TERMINATE, json={"agent_id": "billing"}),
    ("GET", "/v1/ledger/checkpoint"): Rule(VERIFY),
    ("GET", "/v1/ledger/consistency"): Rule(VERIFY, query="?from=1&to=1"),
    ("GET", "/v1/ledger/proof/{event_id}"): Rule(VERIFY, 404),
    ("GET", "/v1/budgets"): Rule(READ),
    ("POST", "/v1/budgets"): Rule(BUDGETS, 403, json=_BUDGET),
    ("GET", "/v1/budgets/{budget_id}"): Rule(READ, 404),
    ("PUT", "/v1/budgets/{budget_id}"): Rule(BUDGETS, 404, json=_BUDGET),
    ("DELETE", "/v1/budgets/{budget_id}"): Rule(BUDGETS, 404),
    ("GET", "/v1/keys"): Rule(ADMIN),
    ("POST", "/v1/keys"): Rule(ADMIN, 403, by_org=True, json=_KEY),
    ("DELETE", "/v1/keys/{key_id}"): Rule(ADMIN, 404, by_org=True),
    ("GET", "/v1/webhooks"): Rule(ADMIN),
    ("POST", "/v1/webhooks"): Rule(ADMIN, 403, by_org=True, json={**_WEBHOOK, "org_id": "acme"}),
    **{("GET", _ONE_WEBHOOK + part): Rule(ADMIN, 404, by_org=True) for part in ("", "/dead-letters")},
    ("PUT", _ONE_WEBHOOK): Rule(ADMIN, 404, by_org=True, json=_WEBHOOK),
    ("DELETE", _ONE_WEBHOOK): Rule(ADMIN, 404, by_org=True),
    **{("POST", f"{_ONE_WEBHOOK}/{verb}"): Rule(ADMIN, 404, by_org=True) for verb in ("rotate", "test", "replay")},
    ("POST", _ONE_WEBHOOK + "/backfill"): Rule(ADMIN, 404, by_org=True, json={"from_time": "2026-01-01T00:00:00Z"}),
    ("GET", "/v1/audit"): Rule(ADMIN),
    ("GET", "/v1/sessions/facets"): Rule(READ),
    ("GET", "/v1/spend"): Rule(READ),
    ("GET", _SESSION + "/children"): Rule(READ, 404),
    ("GET", _SESSION + "/export"): Rule(EXPORT, 404),
    ("GET", "/v1/schemas/export.json"): Rule(READ),
    ("GET", "/v1/exports"): Rule(EXPORT),
    ("POST", "/v1/exports"): Rule(EXPORT, json={}),
    ("GET", "/v1/exports/{export_id}"): Rule(EXPORT, 404, of_maker=True),
    ("GET", "/v1/exports/{export_id}/files/{name}"): Rule(EXPORT, 404, of_maker=True),
    ("DELETE", "/v1/exports/{export_id}"): Rule(EXPORT, 404, of_maker=True),
    ("GET", "/exports"): Rule(EXPORT),
    ("POST", "/exports"): Rule(EXPORT),
    ("POST", "/exports/{export_id}/delete"): Rule(EXPORT, 404, of_maker=True),
    **{("GET", path): Rule(READ) for path in ("/", "/sessions", "/sessions/facets", "/budgets")},
    ("GET", "/ledger"): Rule(VERIFY),
    **{("GET", _PAGE + part): Rule(READ, 404) for part in _PARTS},
    ("GET", _PAGE + "/turns"): Rule(READ, 404, query="?first=0"),
    ("GET", _PAGE + "/text"): Rule(READ, 404, query="?log={log_id}&offset={offset}"),
    ("POST", _PAGE + "/terminate"): Rule(TERMINATE, 404),
    **{("POST", f"{_PAGE}/{verb}"): Rule(TERMINATE, 404, form={"approval_id": "a"}) for verb in ("approve", "deny")},
    ("GET", "/budgets/new"): Rule(BUDGETS),
    ("POST", "/budgets"): Rule(BUDGETS),
    **{("GET", path): Rule(ADMIN) for path in ("/audit", "/keys", "/webhooks", "/webhooks/new")},
    ("POST", "/webhooks"): Rule(ADMIN),
    **{("GET", _HOOK_PAGE + part): Rule(ADMIN, 404, by_org=True) for part in ("", "/edit")},
    ("POST", _HOOK_PAGE + "/edit"): Rule(ADMIN, 404, by_org=True, form={**_WEBHOOK, "format": "JSON", "kinds": "Gap"}),
    ("POST", _HOOK_PAGE + "/backfill"): Rule(ADMIN, 404, by_org=True, form={"since": "2026-01-01T00:00"}),
    **{
        ("POST", f"{_HOOK_PAGE}/{verb}"): Rule(ADMIN, 404, by_org=True)
        for verb in ("enable", "rotate", "test", "replay", "delete")
    },
    ("POST", "/keys"): Rule(ADMIN),
    ("POST", "/keys/{key_id}/revoke"): Rule(ADMIN, 404, by_org=True),
    ("GET", "/budgets/{budget_id}"): Rule(READ, 404),
    ("GET", "/budgets/{budget_id}/edit"): Rule(BUDGETS, 404),
    **{("POST", f"/budgets/{{budget_id}}/{verb}"): Rule(BUDGETS, 404) for verb in ("edit", "delete")},
}


@dataclass
class Subject:
    """What belongs to the team payments of the organisation acme, and to nobody else."""

    mark: str
    ids: dict[str, Any] = field(default_factory=dict)


class Everybody:
    """Tokens that say whose they are: permission, organisation and team, separated by bars."""

    async def principal(self, token: str) -> Principal | None:
        permission, org_id, team = token.split("|")
        if permission == "operator":
            return Principal("key:admin", None, frozenset({ADMIN}))
        granted = frozenset({Permission(permission)}) if permission else frozenset[Permission]()
        return Principal(f"test:{token}", org_id, granted, frozenset({team} if team else ()))


#: Whoever makes the exports of these tests.
MAKER = (EXPORT, "acme", "payments")
OPERATOR = {"Authorization": "Bearer operator||"}
CALLERS = list(
    product(("", *Permission), (("acme", "payments"), ("acme", "search"), ("beta", "payments"), ("acme", "")))
)


def _operations() -> list[tuple[str, str]]:
    app = create_app(Settings(), AdminKey("k"))
    return sorted(
        (method, context.path)
        for context in iter_route_contexts(app.routes)
        for method in (context.methods or set()) - {"HEAD"}
        if context.path
    )


def _sees(permission: str, org_id: str, team: str, rule: Rule) -> bool:
    """Tell whether what belongs to acme's team payments is in the caller's scope."""
    if rule.of_maker:
        return (permission, org_id, team) == MAKER or (permission, org_id) == (ADMIN, "acme")
    return org_id == "acme" and (rule.by_org or permission in (READ_ALL, ADMIN) or team == "payments")


@pytest.fixture(scope="module")
def api(reader_settings: Settings) -> Iterator[TestClient]:
    settings = reader_settings.model_copy(update={"rate_limit_per_s": 0.0})
    with TestClient(create_app(settings, Everybody()), follow_redirects=False) as client:
        yield client


@pytest.fixture(scope="module")
def subject(api: TestClient, ledger: Any, new_runtime: Any) -> Subject:
    made = Subject(f"mark-{uuid4().hex}")
    run = new_runtime(org_id="acme", owner_team_id="payments")
    start = run.start(labels={"mark": made.mark})
    ledger.add(start, run.turn(0, made.mark), run.tool_start(0, "c", input=f'"{made.mark}"'), run.end())
    ledger.publish(run.session_id)
    entries = api.get(f"/v1/sessions/{run.session_id}/events", headers=OPERATOR).raise_for_status().json()["items"]
    turn = next(entry for entry in entries if entry["kind"] == "TurnRecorded")
    made.ids |= {"session_id": run.session_id, "event_id": start["event_id"]}
    made.ids |= {"log_id": turn["log_id"], "offset": turn["offset"]}
    return made


def _fill(api: TestClient, path: str, subject: Subject) -> str:
    """Return the path with ids; a budget or key that may be about to go is made for this one request."""
    ids = dict(subject.ids)
    if "{budget_id}" in path:
        made = api.post("/v1/budgets", json={**_BUDGET, "name": subject.mark}, headers=OPERATOR)
        ids["budget_id"] = made.raise_for_status().json()["budget_id"]
    if "{key_id}" in path:
        made = api.post("/v1/keys", json={**_KEY, "name": subject.mark}, headers=OPERATOR)
        ids["key_id"] = made.raise_for_status().json()["key_id"]
    if "{endpoint_id}" in path:
        made = api.post("/v1/webhooks", json={**_WEBHOOK, "org_id": "acme", "name": subject.mark}, headers=OPERATOR)
        ids["endpoint_id"] = made.raise_for_status().json()["endpoint_id"]
    if "{export_id}" in path:
        ids |= _export(api)
    return path.format(**ids)


def _export(api: TestClient) -> dict[str, str]:
    """Make an export as `MAKER`, and return its id and the name of a file once it is complete."""
    headers = {"Authorization": f"Bearer {'|'.join(MAKER)}"}
    export_id = api.post("/v1/exports", json={}, headers=headers).raise_for_status().json()["export_id"]
    deadline = monotonic() + 30
    while not (files := api.get(f"/v1/exports/{export_id}", headers=headers).raise_for_status().json()["files"]):
        assert monotonic() < deadline
    return {"export_id": export_id, "name": files[0]["name"]}


def test_every_route_has_a_rule() -> None:
    operations = set(_operations())
    without = [f"{method} {path}" for method, path in sorted(operations - OPEN - RULES.keys())]
    assert not without, "say in RULES or OPEN who may call these"
    assert not (OPEN | RULES.keys()) - operations, "these rules are of routes that are no more"


@pytest.mark.parametrize(("method", "path"), sorted(RULES))
def test_who_gets_in_and_what_they_see(api: TestClient, subject: Subject, method: str, path: str) -> None:
    rule = RULES[method, path]
    url = _fill(api, path + rule.query, subject)
    assert api.request(method, url, json=rule.json, data=rule.form).status_code in (
        {401} if path.startswith("/v1") else {401, 303}
    )
    for permission, (org_id, team) in CALLERS:
        caller = f"{permission}|{org_id}|{team}"
        allowed = permission in INCLUDED_IN[rule.permission]
        sees = _sees(permission, org_id, team, rule)
        if allowed and rule.endless and (sees or rule.outside is None):
            continue
        if allowed and sees and (method == "DELETE" or path.endswith(("/delete", "/revoke"))):
            url = _fill(api, path + rule.query, subject)
        response = api.request(
            method, url, json=rule.json, data=rule.form, headers={"Authorization": f"Bearer {caller}"}
        )
        shown = f"{method} {url} by {caller}: {response.status_code} {response.text[:300]}"
        if not allowed:
            assert response.status_code == 403, shown
        elif rule.outside is not None and not sees:
            assert response.status_code == rule.outside, shown
        else:
            assert response.status_code not in (401, 403, 404, 429, 500), shown
        if not (allowed and sees):
            assert subject.mark not in response.text, shown


def test_the_owner_sees_the_mark(api: TestClient, subject: Subject) -> None:
    """So that the tests above look for something that is there."""
    headers = {"Authorization": f"Bearer {READ}|acme|payments"}
    for part in ("", "/turns", "/tool-calls", "/events"):
        answered = api.get(f"/v1/sessions/{subject.ids['session_id']}{part}", headers=headers)
        assert subject.mark in answered.raise_for_status().text
    assert subject.mark in api.get("/v1/sessions?limit=1000", headers=headers).text


def test_a_cursor_of_another_team_shows_nothing_of_it(api: TestClient, subject: Subject, ledger: Any) -> None:
    own = {"Authorization": f"Bearer {READ}|acme|payments"}
    other = {"Authorization": f"Bearer {READ}|acme|search"}
    url = f"/v1/sessions/{subject.ids['session_id']}/events?limit=1"
    cursor = api.get(url, headers=own).raise_for_status().json()["next_cursor"]
    assert api.get(f"{url}&cursor={cursor}", headers=own).status_code == 200
    assert api.get(f"{url}&cursor={cursor}", headers=other).status_code == 404


def test_an_organisation_cannot_be_taken(api: TestClient) -> None:
    """An administrator of one organisation makes keys and budgets of that one alone."""
    admin = {"Authorization": f"Bearer {ADMIN}|beta|"}
    for change in ({"org_id": "acme"}, {"org_id": None, "every_organisation": True}):
        assert api.post("/v1/keys", json={**_KEY, **change}, headers=admin).status_code == 403
    made = api.post("/v1/keys", json={**_KEY, "org_id": None}, headers=admin).raise_for_status().json()
    assert made["org_id"] == "beta"
