"""Search, facets and spend on the real engine: each answer equals a recount in Python of what the API lists itself."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from fastapi.testclient import TestClient

from procurator.bench import corpus
from procurator.query_api import matches
from procurator.query_api.search import begun
from procurator.query_api.search.fields import MARKS, MEASURES, NAMES
from procurator.query_api.search.words import marked, words

Item = dict[str, Any]
_TEXTS = {
    "refund": "Please read our Refund Policy, it says 14 days.",
    "plain": "The policy on refunds is elsewhere.",
    "chinese": "我们的退款政策是十四天。",
    "german": "Die Rückerstattung für die STRASSE",
    "quoted": "he said “hello”—world",
}


@dataclass
class Found:
    """What is in the ledger: every session as the API lists it, and its texts."""

    items: dict[str, Item]
    texts: dict[str, list[str]]
    runs: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def found(ledger: Any, client: TestClient, new_runtime: Any) -> Found:
    """Sessions of the corpus, and some with texts, children, a workflow and labels of their own."""
    texts: dict[str, list[str]] = {}
    for session in corpus.whole_sessions(60, seed=3):
        records = [dict(event.record) for event in session]
        ledger.add(*records)
        ledger.publish(session[0].session_id)
        texts[session[0].session_id] = _texts(records)
    runs: dict[str, str] = {}
    for number, (name, text) in enumerate(_TEXTS.items()):
        run = replace(new_runtime(), session_id=f"00000000-0000-4000-8000-{number:012d}")
        parent = {"parent_session_id": next(iter(runs.values()))} if runs else {}
        start = run.start(**parent, workflow_id="onboarding", workflow_run_id="run-1", labels={"case": name})
        records = [start, run.turn(0, text, "USER"), run.turn(1, "ok", thinking=f"thinking of {name}")]
        records.append(run.model_call(1, "m", model="no such model" if name == "plain" else "gpt-4o", input_tokens=900))
        if name == "refund":
            records += [run.tool_start(1, "t"), run.tool_end(1, "t", status="TIMEOUT", output='{"a": "退款"}')]
        ledger.add(*records)
        ledger.publish(run.session_id)
        runs[name], texts[run.session_id] = run.session_id, _texts(records)
    return Found({item["session_id"]: item for item in _walk(client, limit=1000)}, texts, runs)


def _texts(records: list[Item]) -> list[str]:
    payloads = [record["payload"][1] for record in records]
    return [
        payload[name]
        for payload in payloads
        for name in ("content", "thinking", "input", "output")
        if payload.get(name)
    ]


def _walk(client: TestClient, limit: int = 1000, **params: Any) -> Iterator[Item]:
    cursor: dict[str, str] = {}
    while True:
        page = client.get("/v1/sessions", params={"limit": limit, **params, **cursor}).raise_for_status().json()
        yield from page["items"]
        if page["next_cursor"] is None:
            return
        cursor = {"cursor": page["next_cursor"]}


def _holds(text: str) -> Callable[[Item, list[str]], bool]:
    return lambda _item, texts: any(marked(body, [(words(text), text.endswith("*"))]) for body in texts)


def _cost(item: Item) -> Decimal:
    return Decimal(item["cost_usd"] or "-1")


#: Search → whether a session (as listed, and its texts) is in it.
_SEARCHES: dict[str, Callable[[Item, list[str]], bool]] = {
    "": lambda i, _: True,
    "agent:agent-3,billing": lambda i, _: i["agent_id"] in ("agent-3", "billing"),
    "-agent:billing": lambda i, _: i["agent_id"] != "billing",
    "owner_team:payments": lambda i, _: i["owner_team_id"] == "payments",
    "org:org-1": lambda i, _: i["org_id"] == "org-1",
    "team:none": lambda i, _: i["team_id"] == "none",
    "user:ada": lambda i, _: i["user_id"] == "ada",
    "-user:ada": lambda i, _: i["user_id"] != "ada",
    "initiator:USER": lambda i, _: i["initiator"] == "USER",
    "status:FAILED,TERMINATED": lambda i, _: i["status"] in ("FAILED", "TERMINATED"),
    "origin:SCHEDULE": lambda i, _: i["origin"] == "SCHEDULE",
    "workflow:onboarding": lambda i, _: i["workflow_id"] == "onboarding",
    "workflow_run:run-1": lambda i, _: i["workflow_run_id"] == "run-1",
    "schedule:none": lambda i, _: i["schedule_id"] == "none",
    "id:00000000-0000-4000-8000-000000000000": lambda i, _: i["session_id"].endswith("8000-000000000000"),
    "parent:00000000-0000-4000-8000-000000000000": lambda i, _: i["parent_session_id"] is not None,
    "label:env": lambda i, _: "env" in i["labels"],
    "label:case=refund,plain": lambda i, _: i["labels"].get("case") in ("refund", "plain"),
    "-label:env=prod": lambda i, _: i["labels"].get("env") != "prod",
    "model:gpt-4o": lambda i, _: "gpt-4o" in i["models"],
    "tool:tool_3,get_order": lambda i, _: bool({"tool_3", "get_order"} & set(i["tools"])),
    "tool:get_order=TIMEOUT": lambda i, texts: _TEXTS["refund"] in texts,
    "mcp_server:crm": lambda i, _: "crm" in i["mcp_servers"],
    "flag:duplicate_turn": lambda i, _: "duplicate_turn" in i["flags"],
    "cost>0.02": lambda i, _: _cost(i) > Decimal("0.02"),
    "cost<0.02": lambda i, _: Decimal(0) <= _cost(i) < Decimal("0.02"),
    "duration>4s": lambda i, _: i["duration_ms"] is not None and i["duration_ms"] > 4000,
    "duration<=4s": lambda i, _: i["duration_ms"] is not None and i["duration_ms"] <= 4000,
    "tokens>=30000": lambda i, _: i["total_tokens"] >= 30000,
    "turns:5": lambda i, _: i["turns"] == 5,
    "tool_calls<3": lambda i, _: i["tool_calls"] < 3,
    "tool_errors>0": lambda i, _: i["tool_errors"] > 0,
    "model_calls>2 turns>6": lambda i, _: i["model_calls"] > 2 and i["turns"] > 6,
    "started>=2026-09-22T00:00:00Z": lambda i, _: i["started_at"] >= "2026-09-22",
    "started:2026-09-21": lambda i, _: i["started_at"][:10] == "2026-09-21",
    "completed<2026-09-22": lambda i, _: i["completed_at"] is not None and i["completed_at"] < "2026-09-22",
    "is:open": lambda i, _: i["status"] == "RUNNING",
    "-is:open": lambda i, _: i["status"] != "RUNNING",
    "is:unpriced": lambda i, _: i["unpriced_calls"] > 0,
    "is:stalled": lambda i, _: i["stalled"],
    "is:incomplete": lambda i, _: bool(i["missing_events"] or i["dropped_events"] or not i["started_at"]),
    "is:flagged": lambda i, _: bool(i["flags"]),
    "is:estimated": lambda i, _: bool(i["estimated"]),
    "is:imported": lambda i, _: i["imported"],
    "refund": _holds("refund"),
    "REFUND": _holds("refund"),
    "-refund": lambda i, t: not _holds("refund")(i, t),
    "refun*": lambda i, t: any(marked(body, [(["refun"], True)]) for body in t),
    '"refund policy"': _holds("refund policy"),
    '-"refund policy"': lambda i, t: not _holds("refund policy")(i, t),
    "退款": _holds("退款"),
    "款政策": _holds("款政策"),
    "政款": _holds("政款"),
    "rückerstattung": _holds("rückerstattung"),
    "straße": _holds("strasse"),
    "hello world": lambda i, t: _holds("hello")(i, t) and _holds("world")(i, t),
    '"hello world"': _holds("hello world"),
    "thinking plain": lambda i, t: _holds("thinking")(i, t) and _holds("plain")(i, t),
    'status:COMPLETED cost>0.01 -agent:agent-3 "the user"': lambda i, t: (
        i["status"] == "COMPLETED"
        and _cost(i) > Decimal("0.01")
        and i["agent_id"] != "agent-3"
        and _holds("the user")(i, t)
    ),
}


@pytest.mark.parametrize("search", _SEARCHES)
def test_a_search_finds_what_a_recount_finds(found: Found, client: TestClient, search: str) -> None:
    is_in = _SEARCHES[search]
    expected = {key for key, item in found.items.items() if is_in(item, found.texts[key])}
    assert {item["session_id"] for item in _walk(client, 20, q=search)} == expected


def test_every_field_is_searched_by_some_test() -> None:
    text = " ".join(_SEARCHES)
    assert [name for name in (*NAMES, *MEASURES) if f"{name}:" not in text and f"{name}" not in text] == []
    assert [name for name in MARKS if f"is:{name}" not in text] == []


@pytest.mark.parametrize(
    ("params", "search"),
    [
        ({"agent": ["agent-3", "billing"]}, "agent:agent-3,billing"),
        ({"label": "case=refund,plain"}, "label:case=refund,plain"),
        ({"tool": "get_order=TIMEOUT"}, "tool:get_order=TIMEOUT"),
        ({"cost_above": "0.02"}, "cost>0.02"),
        ({"started_from": "2026-09-22T00:00:00Z"}, "started>=2026-09-22T00:00:00Z"),
        ({"unpriced": "true"}, "is:unpriced"),
        ({"open": "false"}, "-is:open"),
        ({"model_calls_above": "2", "q": "turns>6"}, "model_calls>2 turns>6"),
    ],
)
def test_a_parameter_says_what_the_language_says(
    found: Found, client: TestClient, params: dict[str, Any], search: str
) -> None:
    assert [*_walk(client, **params)] == [*_walk(client, q=search)]


@pytest.mark.parametrize("order", ["desc", "asc"])
@pytest.mark.parametrize("sort", ["started", "cost", "duration", "tokens"])
def test_pages_in_any_order_are_the_sorted_list(found: Found, client: TestClient, sort: str, order: str) -> None:
    keys: dict[str, Callable[[Item], Any]] = {
        "started": lambda item: datetime.fromisoformat(item["started_at"]),
        "cost": lambda item: None if item["cost_usd"] is None else Decimal(item["cost_usd"]),
        "duration": lambda item: item["duration_ms"],
        "tokens": lambda item: item["total_tokens"],
    }
    walked = [*_walk(client, 7, sort=sort, order=order)]
    assert len({item["session_id"] for item in walked}) == len(walked) == len(found.items)
    values = [keys[sort](item) for item in walked]
    known = [value for value in values if value is not None]
    assert values == sorted(known, reverse=order == "desc") + [None] * (len(values) - len(known))


def test_a_page_is_the_same_however_many_sessions_are_asked_for_at_once(
    found: Found, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = client.get("/v1/sessions?limit=50&sort=cost").json()
    monkeypatch.setattr(matches, "_SHOWN_AT_ONCE", 7)
    assert client.get("/v1/sessions?limit=50&sort=cost").json() == page


def test_a_phrase_is_found_over_short_pages_too(
    found: Found, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page looks at a bounded number of candidates; what it did not come to is on the next."""
    monkeypatch.setattr(matches, "_LOOKED_THROUGH", (3, 3))
    search = '"date of birth" -"refund policy"'
    expected = {
        key
        for key, texts in found.texts.items()
        if _holds("date of birth")({}, texts) and not _holds("refund policy")({}, texts)
    }
    assert expected
    first = client.get("/v1/sessions", params={"q": search, "limit": 50}).json()
    assert len(first["items"]) <= 6
    walked = [item["session_id"] for item in _walk(client, 50, q=search)]
    assert len(walked) == len(expected)
    assert set(walked) == expected


def test_a_beginning_of_too_many_words_is_refused(
    found: Found, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(begun, "WORDS_MAX", 2)
    response = client.get("/v1/sessions", params={"q": "res*"})
    assert response.status_code == 422
    assert "more than 2 words begin with 'res': write more of it" in response.json()["detail"]


def test_a_cursor_of_another_filter_is_refused(found: Found, client: TestClient) -> None:
    cursor = client.get("/v1/sessions?limit=1&q=is:open").json()["next_cursor"]
    for params in ({"q": "-is:open"}, {"q": "is:open", "sort": "cost"}, {}):
        response = client.get("/v1/sessions", params={**params, "cursor": cursor})
        assert response.status_code == 422
        assert response.json()["errors"][0]["field"] == "cursor"


@pytest.mark.parametrize(
    ("search", "marked_text", "part"),
    [
        ('"refund policy"', "Refund Policy", "TURN"),
        ("rückerst*", "Rückerstattung", "TURN"),
        ("straße", "STRASSE", "TURN"),
        ("款政", "款政", "TURN"),
        ("org:acme thinking quoted", "thinking", "THINKING"),
    ],
)
def test_hits_show_the_text_where_it_stands(
    found: Found, client: TestClient, search: str, marked_text: str, part: str
) -> None:
    items = client.get("/v1/sessions", params={"q": f"{search} org:acme"}).raise_for_status().json()["items"]
    hit = items[0]["hits"][0]
    assert next(piece["text"] for piece in hit["snippet"] if piece["hit"]) == marked_text
    assert hit["part"] == part
    assert hit["turn_index"] in (0, 1)


def test_a_hit_in_a_tools_output_names_the_call(found: Found, client: TestClient) -> None:
    [item] = client.get("/v1/sessions", params={"q": "退款 tool:get_order"}).json()["items"]
    [hit] = item["hits"]
    assert (hit["part"], hit["tool_name"], hit["tool_call_id"]) == ("TOOL_OUTPUT", "get_order", "t")


@pytest.mark.parametrize("search", _SEARCHES)
def test_facets_and_totals_are_a_recount_of_the_list(found: Found, client: TestClient, search: str) -> None:
    facets = client.get("/v1/sessions/facets", params={"q": search}).raise_for_status().json()
    items = [*_walk(client, q=search)]
    columns = {"status": "status", "agent": "agent_id", "owner_team": "owner_team_id"}
    for name, column in columns.items():
        assert _counts(facets[name]) == Counter(item[column] for item in items)
    assert _counts(facets["model"]) == Counter(model for item in items for model in item["models"])
    assert _counts(facets["tool"]) == Counter(tool for item in items for tool in item["tools"])
    totals = facets["totals"]
    assert totals["sessions"] == len(items)
    for name in ("total_tokens", "turns", "tool_calls", "tool_errors", "model_calls", "unpriced_calls"):
        assert totals[name] == sum(item[name] for item in items)
    assert Decimal(totals["cost_usd"] or 0) == sum(Decimal(item["cost_usd"] or 0) for item in items)


def _counts(counted: list[Item]) -> Counter[str]:
    return Counter({one["value"]: one["sessions"] for one in counted})


def test_children_are_those_that_it_started(found: Found, client: TestClient) -> None:
    parent = found.runs["refund"]
    children = client.get(f"/v1/sessions/{parent}/children").raise_for_status().json()["items"]
    assert {item["session_id"] for item in children} == set(found.runs.values()) - {parent}
    assert client.get(f"/v1/sessions/{found.runs['plain']}/children").json() == {"items": [], "next_cursor": None}
    assert client.get("/v1/sessions/0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d/children").status_code == 404


def test_bodies_are_cut_on_request_and_say_so(found: Found, client: TestClient) -> None:
    url = f"/v1/sessions/{found.runs['chinese']}/turns"
    [first, _] = client.get(url, params={"body_chars": 3}).raise_for_status().json()["items"]
    assert (first["content"], first["truncated"]) == ("我们的", True)
    [whole, _] = client.get(url).json()["items"]
    assert (whole["content"], whole["truncated"]) == (_TEXTS["chinese"], False)
    [call] = client.get(f"/v1/sessions/{found.runs['refund']}/tool-calls?body_chars=2").json()["items"]
    assert (call["input"], call["output"], call["truncated"]) == ("{}", '{"', True)


_GROUPS = [
    "org",
    "owner_team",
    "agent",
    "user",
    "model",
    "tool",
    "label:env",
    "day",
    "status",
    "owner_team,day",
    "session",
]


@pytest.mark.parametrize("search", _SEARCHES)
def test_spend_is_that_of_the_list_whatever_is_searched(found: Found, client: TestClient, search: str) -> None:
    report = client.get("/v1/spend", params={"group_by": "agent", "q": search}).raise_for_status().json()
    spent = sum((Decimal(item["cost_usd"] or 0) for item in _walk(client, q=search)), Decimal(0))
    assert Decimal(report["total"]["cost_usd"] or 0) == spent
    assert sum((Decimal(one["cost_usd"] or 0) for one in report["items"]), Decimal(0)) == spent


@pytest.mark.parametrize("search", ["", "status:FAILED", "org:acme"])
@pytest.mark.parametrize("group_by", _GROUPS)
def test_spend_is_the_sum_of_the_ledger_to_the_last_digit(
    found: Found, client: TestClient, group_by: str, search: str
) -> None:
    report = client.get("/v1/spend", params={"group_by": group_by, "q": search}).raise_for_status().json()
    items = [*_walk(client, q=search)]
    total = sum((Decimal(item["cost_usd"] or 0) for item in items), Decimal(0))
    for spent in ([report["total"]], report["items"]):
        assert sum((Decimal(one["cost_usd"] or 0) for one in spent), Decimal(0)) == total
        assert sum(one["model_calls"] for one in spent) == sum(item["model_calls"] for item in items)
        assert sum(one["unpriced_tokens"] for one in spent) == sum(item["unpriced_tokens"] for item in items)
    assert len({tuple(one["group"].values()) for one in report["items"]}) == len(report["items"])


def test_spend_by_model_is_a_recount_of_the_model_calls(found: Found, client: TestClient) -> None:
    by_model: dict[str, Decimal] = {}
    unpriced: Counter[str] = Counter()
    for session_id in found.items:
        for call in client.get(f"/v1/sessions/{session_id}/model-calls?limit=1000").json()["items"]:
            by_model[call["model"]] = by_model.get(call["model"], Decimal(0)) + Decimal(call["cost_usd"] or 0)
            unpriced[call["model"]] += call["unpriced"]
    report = client.get("/v1/spend?group_by=model").json()["items"]
    assert {one["group"]["model"]: Decimal(one["cost_usd"] or 0) for one in report} == by_model
    assert {one["group"]["model"]: one["unpriced_calls"] for one in report} == dict(unpriced)
    assert next(one for one in report if one["group"]["model"] == "no such model")["cost_usd"] is None


def test_spend_as_csv_has_the_same_figures(found: Found, client: TestClient) -> None:
    response = client.get("/v1/spend?group_by=owner_team,model&format=csv").raise_for_status()
    assert response.headers["content-type"].startswith("text/csv")
    header, *lines = response.text.splitlines()
    names = header.split(",")
    report = client.get("/v1/spend?group_by=owner_team,model").json()["items"]
    cells = [dict(zip(names, line.split(","), strict=True)) for line in lines]
    assert [(one["owner_team"], one["model"], one["cost_usd"]) for one in cells] == [
        (one["group"]["owner_team"], one["group"]["model"], one["cost_usd"] or "") for one in report
    ]


@pytest.mark.parametrize("path", ["/v1/sessions", "/v1/sessions/facets", "/v1/spend"])
@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"colour": "red"}, "colour"),
        ({"q": "colour:red"}, "q"),
        ({"q": '"left open'}, "q"),
        ({"q": "(a OR b)"}, "q"),
        ({"q": "cost>0.5 cost<0.1"}, "cost"),
        ({"q": "x" * 3000}, "q"),
        ({"q": "w1 w2 w3 w4 w5 w6 w7 w8 w9"}, "q"),
        ({"started_from": "yesterday"}, "started_from"),
        ({"started_from": "2026-11-02", "started_to": "2026-11-01"}, "started"),
        ({"cost_above": "-1"}, "cost_above"),
        ({"cost_above": "1e9"}, "cost_above"),
        ({"status": "DONE"}, "status"),
        ({"id": "1"}, "id"),
        ({"q": "---"}, "q"),
        ({"q": '"!!!"'}, "q"),
    ],
)
def test_a_search_that_cannot_be_meant_names_the_field_and_shows_one_that_can(
    client: TestClient, path: str, params: dict[str, str], field: str
) -> None:
    response = client.get(path, params=params)
    assert response.status_code == 422
    [error] = response.json()["errors"]
    assert error["field"] == field
    assert len(params.get("q", "")) > 2000 or "for example" in error["message"]


_HOSTILE = [
    "'",
    '"',
    "\\",
    "'; DROP TABLE events --",
    "{x:String}",
    "%' OR 1=1",
    "\0",
    "\t\n",
    "\u2028",
    "🦖" * 50,
    "a" * 400,
]


@pytest.mark.parametrize("hostile", _HOSTILE)
def test_no_text_of_a_caller_becomes_sql(found: Found, client: TestClient, hostile: str) -> None:
    quoted = hostile.replace("\\", "\\\\").replace('"', '\\"')
    searches = [
        *(f'{name}:"{quoted}"' for name in NAMES),
        f'label:"{quoted}"="{quoted}"',
        f'"{quoted}"',
        f"zqzqzq{hostile}",
    ]
    parameters = [*({"q": search} for search in searches), *({name: hostile} for name in (*NAMES, "cursor", "sort"))]
    parameters += [{f"{name}_above": hostile} for name in ("cost", "tokens")]
    for params in parameters:
        response = client.get("/v1/sessions", params=params)
        assert response.status_code in (200, 422), (params, response.text)
        if response.status_code == 200:
            assert response.json()["items"] == [], params
    assert client.get("/v1/spend", params={"group_by": f"label:{hostile}"}).status_code in (200, 422)
    assert len([*_walk(client)]) == len(found.items)
