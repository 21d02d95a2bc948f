"""What the pages show of a session beside the API's lists, on a real ledger."""

from http import HTTPStatus
from typing import Any

from fastapi.testclient import TestClient

from procurator.query_api.ui.views.trace import SHOWN_CHARS_MAX

_LONG = '"' + "x" * SHOWN_CHARS_MAX + 'end"'


def _text(client: TestClient, run: Any, place: dict[str, Any], part: str) -> Any:
    where = {"log": place["log_id"], "offset": place["offset"], "part": part}
    return client.get(f"/sessions/{run.session_id}/text", params=where)


def test_what_a_page_cuts_can_be_read_whole(ledger: Any, client: TestClient, new_runtime: Any) -> None:
    """Each call of a reused id has its own input and output, and an entry has its whole event."""
    run = new_runtime()
    ledger.add(
        run.start(),
        run.tool_start(0, "call_0", input='"first"'),
        run.tool_end(0, "call_0", output='"one"'),
        run.tool_start(1, "call_0", input=_LONG),
        run.tool_end(1, "call_0", output=_LONG[::-1]),
        run.tool_end(1, "lost", output='"lost"'),
    )
    first, second, lost = client.get(f"/v1/sessions/{run.session_id}/tool-calls").json()["items"]
    assert (_text(client, run, first, "input").text, _text(client, run, first, "output").text) == ('"first"', '"one"')
    assert (_text(client, run, second, "input").text, _text(client, run, second, "output").text) == (_LONG, _LONG[::-1])
    assert _text(client, run, lost, "input").status_code == HTTPStatus.NOT_FOUND
    assert _text(client, run, lost, "output").text == '"lost"'
    assert _text(client, run, {**first, "offset": first["offset"] + 1}, "input").status_code == HTTPStatus.NOT_FOUND
    whole = _text(client, run, second, "entry")
    assert whole.headers["content-type"].startswith("text/plain")
    assert _LONG[1:-1] in whole.text

    tools = client.get(f"/sessions/{run.session_id}/tools").text
    assert tools.count(f"the whole input</a> has {len(_LONG):,} characters") == 1
    assert tools.count("the whole output</a>") == 1
    events = client.get(f"/sessions/{run.session_id}/events").text
    assert events.count("the whole entry</a> has") == 2
    for part in ("input", "output", "entry"):
        assert f"/sessions/{run.session_id}/text?log={second['log_id'].replace(':', '%3A')}" in tools + events, part


def test_who_decides_sees_what_is_to_be_approved(ledger: Any, client: TestClient, new_runtime: Any) -> None:
    run = new_runtime()
    asked = {"approval_id": "a1", "reason": "refund <900> USD", "tool_call_id": "call_0", "budget_id": None}
    ledger.add(
        run.start(),
        run.tool_start(0, "call_0", tool_name="refund"),
        run.event("ApprovalRequested", **asked, expires_at=1_790_000_600_000_000),
        run.event("ApprovalRequested", **{**asked, "approval_id": "a2", "tool_call_id": None}, expires_at=None),
    )
    text = client.get(f"/sessions/{run.session_id}").text
    assert text.count("refund &lt;900&gt; USD") == 2
    assert "never by itself" in text
    assert "2026-09-21 14:23:20 UTC" in text
    [call] = client.get(f"/v1/sessions/{run.session_id}/tool-calls").json()["items"]
    assert f"tools?at={call['log_id'].replace(':', '%3A')}%3A{call['offset']}#call-call_0" in text
