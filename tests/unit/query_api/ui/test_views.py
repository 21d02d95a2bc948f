"""View models: what rows become before a template shows them."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pytest

from procurator.query_api.search import SearchError, SessionFilter, parse, render
from procurator.query_api.search.terms import ToolEnded
from procurator.query_api.ui.formats import Clock, integer
from procurator.query_api.ui.views import charts, header, sessions, timeline, trace

_NOW = datetime(2026, 11, 22, 19, 0, 0, tzinfo=UTC)


def _turn(index: int, role: str = "ASSISTANT", content: str = "text", **fields: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("thinking", "tool_call_id", "model_call_id", "provider", "model", "cost_usd"))
    thinking = fields.get("thinking")
    return {
        **empty,
        "content_chars": len(content),
        "thinking_chars": None if thinking is None else len(thinking),
        "turn_index": index,
        "role": role,
        "content": content,
        "timestamp": "2026-11-22T18:00:00.000000Z",
        "model_calls": 0,
        "unpriced_calls": 0,
        "estimated": [],
        "log_id": "log:0",
        "offset": index,
        **fields,
    }


def _marker(turn: int, name: str = "tool") -> dict[str, Any]:
    return {"turn_index": turn, "tool_name": name}


def test_markers_stand_with_the_turn_that_triggered_them_once() -> None:
    markers = [_marker(-1), _marker(1), _marker(1, "other"), _marker(7)]
    made = trace.window(0, [_turn(0), _turn(1), _turn(1)], markers)
    assert [len(item.markers) for item in made.items] == [0, 2, 0]
    assert (made.early, made.orphans) == ([_marker(-1)], [_marker(7)])


def test_what_tools_and_systems_say_is_no_markdown() -> None:
    made = trace.window(0, [_turn(0, "TOOL", "# a"), _turn(1, "SYSTEM", "*b*"), _turn(2, "USER", "*c*")], [])
    assert [item.body.html is None for item in made.items] == [True, True, False]


def test_exact_text_is_left_alone() -> None:
    made = trace.window(0, [_turn(0, content='{"a": 1}', thinking="*t*")], [], exact=True)
    [item] = made.items
    assert (item.body.html, item.body.text) == (None, '{"a": 1}')
    assert item.thinking is not None
    assert item.thinking.html is None


def test_long_texts_are_folded_and_longer_ones_cut() -> None:
    def body(text: str) -> trace.Body:
        return trace.body(text, len(text))

    assert not body("short").folded
    assert body("x" * (trace.FOLD_CHARS + 1)).folded
    assert body("\n" * trace.FOLD_LINES).folded
    whole = "x" * (trace.SHOWN_CHARS_MAX + 1)
    assert trace.body(whole[: trace.SHOWN_CHARS_MAX], len(whole)) == body(whole)
    cut = body(whole)
    assert (cut.cut, len(cut.text), cut.chars) == (True, trace.SHOWN_CHARS_MAX, len(whole))


@pytest.mark.parametrize(("turn", "first"), [(0, 0), (50, 50), (19_999, 19_950), (-3, 0), (2**63, 2**31 - 48)])
def test_a_turn_has_its_window(turn: int, first: int) -> None:
    assert trace.window_of(turn) == first


def test_a_window_has_neighbours() -> None:
    assert trace.neighbours([0], 0) == (None, None)
    assert [trace.neighbours([0, 50, 900], first) for first in (0, 50, 900)] == [(None, 50), (0, 900), (50, None)]


def _span(began: str | None, ended: str | None, **fields: Any) -> dict[str, Any]:
    return {
        "is_model": False,
        "began": began or "1970-01-01T00:00:00Z",
        "ended": ended or "1970-01-01T00:00:00Z",
        "starts": int(began is not None),
        "completions": int(ended is not None),
        "call_status": "SUCCESS",
        "latency": None,
        "tool": "t",
        "model_name": "",
        "cost": None,
        "tokens": 0,
        "turn": None,
        "message": None,
        "log": "log:0",
        "place": 7,
        **fields,
    }


def test_bars_stand_where_the_calls_were() -> None:
    rows = [
        _span("2026-11-22T18:00:00Z", "2026-11-22T18:00:10Z"),
        _span("2026-11-22T18:00:10Z", "2026-11-22T18:00:40Z", is_model=True, model_name="m", cost="0.5"),
    ]
    made = timeline.waterfall(rows, "2026-11-22T18:00:00Z", "2026-11-22T18:00:40Z", _NOW)
    assert [(bar.left, bar.width) for bar in made.bars] == [(0.0, 25.0), (25.0, 75.0)]
    assert (made.total_ms, made.tool_ms, made.model_ms) == (40_000, 10_000, 30_000)
    assert [bar.cost for bar in made.bars] == [None, "0.5"]


def test_an_open_call_reaches_to_now_and_a_start_that_was_lost_is_no_epoch() -> None:
    made = timeline.waterfall(
        [_span("2026-11-22T18:59:00Z", None), _span(None, "2026-11-22T18:59:30Z")], None, None, _NOW
    )
    assert made.bars[0].open
    assert (made.bars[0].width, made.bars[0].took_ms) == (100.0, None)
    assert made.bars[1].left == 50.0
    assert timeline.waterfall([], None, None, _NOW).bars == []


def test_a_chip_takes_its_term_away() -> None:
    search = parse('agent:billing cost>0.5 "refund policy"')
    chips = sessions.chips(search, "-cost")
    assert [chip.text for chip in chips] == ["agent:billing", "cost>0.5", '"refund policy"']
    assert chips[0].without == "/sessions?q=cost%3E0.5+%22refund+policy%22&sort=-cost"
    assert sessions.address(SessionFilter()) == "/sessions"


def test_a_facet_narrows_in_place_of_what_was_chosen() -> None:
    [facet] = sessions.facets(parse("status:FAILED agent:a"), "", {"status": [{"value": "RUNNING", "sessions": 3}]})
    assert [value.href for value in facet.values] == ["/sessions?q=agent%3Aa+status%3ARUNNING"]


def test_the_column_that_sorts_turns_round() -> None:
    heads = {head.title: head for head in sessions.heads(SessionFilter(), "-cost")}
    assert heads["Cost"].direction == "descending"
    assert heads["Cost"].href == "/sessions?sort=cost"
    assert heads["Started"].href == "/sessions?sort=-started"
    assert heads["Turns"].href is None


@pytest.mark.parametrize("name", ["billing", "a b", 'a "quoted\\" name', "-x", "מ", "a:b=c*"])
def test_links_to_lists_ask_what_they_mean_and_need_no_redirect(name: str) -> None:
    links = {
        sessions.listed("started>=2026-11-22T17:00:00.000000Z", agent=name): SessionFilter.of(agent=name),
        sessions.failing(name, ""): SessionFilter((ToolEnded(name, ("ERROR", "TIMEOUT")),)),
    }
    for link, meant in links.items():
        [query] = parse_qs(urlsplit(link).query)["q"]
        assert render(parse(query)) == query
        assert set(meant.terms) <= set(parse(query).terms)


def test_days_are_the_viewers() -> None:
    search = sessions.days("2026-11-22", "2026-11-22", ZoneInfo("Europe/Zurich"))
    assert render(search) == "started>=2026-11-21T23:00:00.000000Z started<2026-11-22T23:00:00.000000Z"
    with pytest.raises(SearchError, match="is not a date"):
        sessions.days("yesterday", "", ZoneInfo("UTC"))
    with pytest.raises(SearchError):
        sessions.days("0001-01-01", "9999-12-31", ZoneInfo("Europe/Zurich"))


def test_hours_without_anything_are_columns_of_nothing() -> None:
    clock = Clock.of("UTC", _NOW)
    since = datetime(2026, 11, 22, 16, 30, tzinfo=UTC)
    hour_s = int(datetime(2026, 11, 22, 17, tzinfo=UTC).timestamp())
    columns = charts.hours([{"hour_s": hour_s, "failed": 3}], "failed", clock, since, integer)
    assert [column.height for column in columns] == [0.0, 100.0, 0.0, 0.0]
    assert columns[1].label == "Sun 17:00: 3"
    assert columns[1].begin == "2026-11-22T17:00:00.000000Z"
    assert columns[0].begin == "2026-11-22T16:30:00.000000Z", "what was before is not counted"


def _asked(approval_id: str, **payload: Any) -> dict[str, Any]:
    asked = {"reason": "refund", "tool_call_id": None, "budget_id": None, "expires_at": None, **payload}
    return {"approval_id": approval_id, "log_id": "log:0", "tool_name": "", "call_offset": 0, "asked": asked}


def test_who_decides_sees_what_is_asked_and_until_when() -> None:
    now_us = int(_NOW.timestamp()) * 1_000_000
    rows = [
        _asked("b", expires_at=now_us + 1, reason="x" * (header.REASON_CHARS_MAX + 1)),
        {**_asked("c", expires_at=now_us, tool_call_id="call_0"), "tool_name": "refund", "call_offset": 7},
    ]
    unread, open_still, lapsed = header.approvals(["a", "b", "c"], rows, _NOW)
    assert (unread.approval_id, unread.reason) == ("a", None), "it can be decided, and the page says what is missing"
    assert (open_still.cut, open_still.lapsed, open_still.call_place) == (True, False, None)
    assert open_still.reason is not None
    assert len(open_still.reason) == header.REASON_CHARS_MAX
    assert (lapsed.lapsed, lapsed.expires_at) == (True, "2026-11-22T19:00:00.000000Z")
    assert (lapsed.tool_name, lapsed.call_place) == ("refund", "log:0:7")
