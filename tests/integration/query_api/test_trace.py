"""The Message Trace and the Timeline of a session, on a real ledger: where calls stand, and which call is which."""

import re
from typing import Any

import pytest
from fastapi.testclient import TestClient

_MARKER = re.compile(
    r'<article class="turn[^>]*id="turn-(?P<turn>\d+)"'
    r'|id="(?P<id>call-\d+)" data-call="(?P<call>[^"]+)".*?<span class="mark[^>]*>(?P<mark>[A-Z ]+)<'
)


def _part(client: TestClient, run: Any, path: str) -> str:
    return client.get(f"/sessions/{run.session_id}{path}").raise_for_status().text


def _outline(html: str) -> list[str]:
    """Return turns and markers in the order in which they stand."""
    return [found["turn"] or f"{found['call']} {found['mark']}" for found in _MARKER.finditer(html)]


def test_calls_without_a_turn_stand_where_they_happened(ledger: Any, client: TestClient, new_runtime: Any) -> None:
    """As in README's first example: the user speaks, a tool is called, and only then the assistant speaks."""
    run = new_runtime()
    ledger.add(
        run.start(),
        run.tool_start(None, "early"),
        run.tool_end(None, "early"),
        run.turn(0, "question", "USER"),
        run.tool_start(None, "lookup"),
        run.turn(1, "answer"),
        run.tool_end(None, "lookup"),
        run.tool_end(None, "lost start", status="ERROR"),
        run.turn(50, "much later"),
        run.tool_start(None, "afterwards"),
    )
    ledger.publish(run.session_id)
    shown = ["early SUCCESS", "0", "lookup SUCCESS", "1", "lost start ERROR"]
    window = _part(client, run, "/turns?first=0")
    assert _outline(window) == shown
    assert _outline(_part(client, run, "/turns?first=50")) == ["50", "afterwards RUNNING"]
    page = _part(client, run, "")
    [lost] = re.findall(r'id="(\S+)" data-call="lost start"', window)
    assert re.findall(r'data-error-link href="[^"]*(\?[^"]+)"', page) == [f"?turn=1#{lost}"]
    assert re.findall(r'class="window" data-first="(\d+)"', page) == ["0", "50"]


def test_a_session_of_calls_alone_shows_them(ledger: Any, client: TestClient, new_runtime: Any) -> None:
    run = new_runtime()
    ledger.add(run.start(), run.tool_start(None, "only"), run.end())
    ledger.publish(run.session_id)
    page = _part(client, run, "")
    assert _outline(page) == ["only NEVER COMPLETED"]
    assert "No turns" not in page


def test_each_use_of_a_call_id_has_its_own_end(ledger: Any, client: TestClient, new_runtime: Any) -> None:
    run = new_runtime()
    ledger.add(
        run.start(),
        run.turn(0, "first"),
        run.tool_start(0, "call_0", input='"one needle"'),
        run.tool_end(0, "call_0"),
        run.turn(1, "second"),
        run.tool_start(1, "call_0"),
        run.tool_end(1, "call_0", status="ERROR", error_message="no such order", output='"another needle"'),
        run.turn(2, "third"),
        run.tool_start(2, "call_0"),
    )
    ledger.publish(run.session_id)
    page = _part(client, run, "?find=needle")
    assert _outline(page) == ["0", "call_0 SUCCESS", "1", "call_0 ERROR", "2", "call_0 RUNNING"]
    offsets = [int(found) for found in re.findall(r'id="call-(\d+)"', page)]
    assert offsets == [offsets[0], offsets[0] + 3, offsets[0] + 6]
    assert re.findall(r'data-error-link href="[^"]*(\?[^"]+)"', page) == [f"?turn=1#call-{offsets[1]}"]
    assert re.findall(r"find=needle#(\S+?)\"", page) == [f"call-{offsets[0]}", f"call-{offsets[1]}"]
    bars = re.findall(r"/tools\?at=(\S+?)#(call-\d+)\"", _part(client, run, "/timeline"))
    assert [anchor for _, anchor in bars] == [f"call-{offset}" for offset in offsets]
    place, anchor = bars[1]
    tools = _part(client, run, f"/tools?at={place}")
    assert re.findall(r'<article class="tool" id="([^"]+)"', tools) == [anchor, f"call-{offsets[2]}"]


def test_a_failed_model_call_leads_to_a_turn_that_is_there(ledger: Any, client: TestClient, new_runtime: Any) -> None:
    run = new_runtime()
    ledger.add(
        run.start(),
        run.model_call(0, "m0", status="ERROR"),
        run.turn(1, "question", "USER"),
        run.model_call(2, "m2", status="ERROR"),
        run.model_call(3, "m3", status="TIMEOUT"),
        run.turn(2, "answer"),
    )
    ledger.publish(run.session_id)
    links = re.findall(r'data-error-link href="[^"]*(\?[^"]+)"', _part(client, run, ""))
    assert links == ["?turn=0#trace", "?turn=2#turn-2", "?turn=1#turn-1"]


@pytest.mark.parametrize("index", [1_790_000_000, 2**31 - 1])
def test_an_index_says_nothing_about_how_many_turns_there_are(
    ledger: Any, client: TestClient, new_runtime: Any, index: int
) -> None:
    run = new_runtime()
    ledger.add(run.start(), run.turn(index, "now"), run.tool_start(70, "elsewhere"))
    ledger.publish(run.session_id)
    page = _part(client, run, "")
    windows = re.findall(r'class="window" data-first="(\d+)"( data-loaded)?', page)
    assert windows == [("50", ""), (str(index // 50 * 50), " data-loaded")]
    assert _outline(page) == [str(index)]
    assert _outline(_part(client, run, "?turn=60")) == ["elsewhere RUNNING"]
    assert _outline(_part(client, run, f"/turns?first={2**63}")) in ([], [str(index)])


def test_a_call_that_hung_ends_with_its_session(ledger: Any, client: TestClient, new_runtime: Any) -> None:
    """Years later its bar is as long as it was, and the others have not shrunk to nothing."""
    run = new_runtime()
    ledger.add(run.start(), run.turn(0, "go"), run.tool_start(0, "hangs"), run.tool_start(0, "too"), run.end("FAILED"))
    ledger.publish(run.session_id)
    page = _part(client, run, "/timeline")
    assert re.findall(r'<rect[^>]* x="([\d.]+)%" width="([\d.]+)%"', page) == [("50.0", "50.0"), ("75.0", "25.0")]
    assert page.count("NEVER COMPLETED") == 2
    assert "RUNNING" not in page
