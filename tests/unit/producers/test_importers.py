"""Recordings of every format are read whole: each message a turn with its exact text, each call with its arguments."""

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from procurator.avro_schemas.codec import Decoder, load_schema, to_decimal
from procurator.errors import UserError
from procurator.events import SessionEvent, kind_of, parse
from procurator.producers.importers import ImportFailed, ImportOptions, RecordedSession, read_sessions

TRACES = Path(__file__).parents[4] / "shared" / "traces"
START_US = 1_700_000_000_000_000
SCHEMA = load_schema("session_event")
DECODER = Decoder(SCHEMA, lambda _: SCHEMA.text)

needs_traces = pytest.mark.skipif(not TRACES.is_dir(), reason="the recordings are not beside this checkout")


def read(data: bytes | str, format_name: str = "auto", **options: Any) -> list[RecordedSession | ImportFailed]:
    raw = data.encode() if isinstance(data, str) else data
    return list(read_sessions("file", raw, format_name, ImportOptions(**options), START_US))


def session(document: Any, format_name: str = "auto", **options: Any) -> list[SessionEvent]:
    """Return the events of the one session in a document, as they come off the wire."""
    (found,) = read(json.dumps(document), format_name, **options)
    assert isinstance(found, RecordedSession), found
    return on_the_wire(found)


def on_the_wire(found: RecordedSession) -> list[SessionEvent]:
    return [parse(DECODER, SCHEMA.encode(event, 1)) for event in found.events]


def payloads(events: list[SessionEvent], kind: str) -> list[dict[str, Any]]:
    return [event["payload"][1] for event in events if kind_of(event) == kind]


def turns(events: list[SessionEvent]) -> list[tuple[str, str]]:
    return [(turn["role"], turn["content"]) for turn in payloads(events, "TurnRecorded")]


def chat(*messages: dict[str, Any]) -> list[SessionEvent]:
    return session({"messages": list(messages)})


def call(name: str, arguments: Any, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **more}


# The recordings in shared/traces


@needs_traces
def test_every_tau_bench_message_is_a_turn_and_every_call_has_its_arguments_and_output() -> None:
    data = (TRACES / "tau-bench-airline-gpt-4o.json.gz").read_bytes()
    source = json.loads(gzip.decompress(data))
    found = read(data)
    assert len(found) == len(source) == 120
    assert len({one.session_id for one in found if isinstance(one, RecordedSession)}) == 120
    for record, one in zip(source, found, strict=True):
        assert isinstance(one, RecordedSession)
        events = on_the_wire(one)
        assert turns(events) == [(m["role"].upper(), m["content"] or "") for m in record["traj"]]
        asked = [c["function"] for m in record["traj"] for c in m.get("tool_calls") or []]
        started = payloads(events, "ToolCallStarted")
        assert [(c["tool_name"], c["input"]) for c in started] == [(c["name"], c["arguments"]) for c in asked]
        answers = [m["content"] for m in record["traj"] if m["role"] == "tool"]
        completed = payloads(events, "ToolCallCompleted")
        assert [c["output"] for c in completed] == answers
        assert [c["tool_call_id"] for c in completed] == [c["tool_call_id"] for c in started]
        results = [m["tool_call_id"] for m in record["traj"] if m["role"] == "tool"]
        assert [t["tool_call_id"] for t in payloads(events, "TurnRecorded") if t["role"] == "TOOL"] == results
        assert len(payloads(events, "ModelCallCompleted")) == sum(m["role"] == "assistant" for m in record["traj"])


@needs_traces
@pytest.mark.parametrize("path", sorted(TRACES.glob("swe-agent/*.traj")), ids=lambda path: path.name[:20])
def test_every_swe_agent_message_thought_action_and_measurement_is_there(path: Path) -> None:
    source = json.loads(path.read_bytes())
    (one,) = read(path.read_bytes())
    assert isinstance(one, RecordedSession)
    events = on_the_wire(one)
    said = [(m["role"].upper(), m["content"]) for m in source["history"]]
    assert turns(events)[: len(said)] == said
    steps = source.get("trajectory", [])
    answers = [turn for turn in payloads(events, "TurnRecorded") if turn["role"] == "ASSISTANT"]
    assert [turn["thinking"] for turn in answers][-len(steps) or None :] == [
        step["thought"] for step in steps or source["history"] if step.get("thought") is not None
    ]
    asked = [c["function"]["arguments"] for m in source["history"] for c in m.get("tool_calls", [])]
    assert [c["input"] for c in payloads(events, "ToolCallStarted")][: len(asked)] == asked
    completed = payloads(events, "ToolCallCompleted")
    if steps:
        assert [c["output"] for c in completed] == [step["observation"] for step in steps]
        assert [c["latency_ms"] for c in completed] == [step["execution_time"] * 1000 for step in steps]
        stats = source["info"]["model_stats"]
        calls = payloads(events, "ModelCallCompleted")
        assert sum(c["input_tokens"] for c in calls) == stats["tokens_sent"]
        assert sum(c["output_tokens"] for c in calls) == stats["tokens_received"]
        assert sum(to_decimal(c["reported_cost_usd"]) for c in calls) == Decimal(str(stats["instance_cost"]))
        assert {c["model"] for c in calls} == {"gpt-4o"}


# Chat messages of every dialect


@pytest.mark.parametrize(
    ("message", "turn"),
    [
        ({"role": "system", "content": "s"}, ("SYSTEM", "s")),
        ({"role": "developer", "content": "d"}, ("SYSTEM", "d")),
        ({"role": "user", "content": ""}, ("USER", "")),
        ({"role": "assistant", "content": None}, ("ASSISTANT", "")),
        ({"role": "assistant"}, ("ASSISTANT", "")),
        ({"role": "assistant", "content": None, "refusal": "I can't."}, ("ASSISTANT", "I can't.")),
        ({"role": "user", "content": " \r\n\t\u0000 é 漢字 👩‍🚀 "}, ("USER", " \r\n\t\u0000 é 漢字 👩‍🚀 ")),
        ({"role": "user", "content": "half \ud83d"}, ("USER", "half \\ud83d")),
        ({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, ("USER", "ab")),
        ({"role": "user", "content": ["a", "b"]}, ("USER", "ab")),
        (
            {
                "role": "user",
                "content": [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": "é"}}],
            },
            ("USER", 'see\n{"type": "image_url", "image_url": {"url": "é"}}\n'),
        ),
        ({"role": "user", "content": {"odd": 1}}, ("USER", '{"odd": 1}')),
        ({"role": "function", "name": "f", "content": "1"}, ("TOOL", "1")),
        ({"role": "Human", "content": "h", "weird": [{}]}, ("USER", "h")),
    ],
)
def test_a_message_is_a_turn_with_its_exact_text(message: dict[str, Any], turn: tuple[str, str]) -> None:
    assert turns(chat(message)) == [turn]


def test_thinking_of_every_dialect_is_kept_beside_the_text() -> None:
    events = chat(
        {"role": "assistant", "content": "a", "reasoning_content": "r"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "t"}, {"type": "text", "text": "b"}]},
        {
            "role": "assistant",
            "content": "c",
            "thought": "c",
            "thinking_blocks": [{"type": "thinking", "thinking": "u"}],
        },
    )
    assert [(t["content"], t["thinking"]) for t in payloads(events, "TurnRecorded")] == [
        ("a", "r"),
        ("b", "t"),
        ("c", "u\n\nc"),
    ]


def test_calls_are_matched_by_id_then_name_then_order() -> None:
    events = chat(
        {"role": "assistant", "content": None, "tool_calls": [call("f", '{"a":1}', id="x"), call("g", "{bad", id="y")]},
        {"role": "tool", "tool_call_id": "y", "content": "gy"},
        {"role": "tool", "tool_call_id": "x", "content": "fx"},
        {"role": "assistant", "content": None, "tool_calls": [call("h", {"k": "é"}), call("i", None)]},
        {"role": "tool", "name": "i", "content": "i1"},
        {"role": "tool", "content": ""},
        {"role": "assistant", "content": None, "function_call": {"name": "old", "arguments": ""}},
        {"role": "function", "name": "old", "content": "o"},
    )
    started = {c["tool_call_id"]: (c["tool_name"], c["input"]) for c in payloads(events, "ToolCallStarted")}
    completed = [(started[c["tool_call_id"]], c["output"]) for c in payloads(events, "ToolCallCompleted")]
    assert completed == [
        (("g", "{bad"), "gy"),
        (("f", '{"a":1}'), "fx"),
        (("i", ""), "i1"),
        (("h", '{"k": "é"}'), ""),
        (("old", ""), "o"),
    ]
    results = [t["tool_call_id"] for t in payloads(events, "TurnRecorded") if t["role"] == "TOOL"]
    assert results == [c["tool_call_id"] for c in payloads(events, "ToolCallCompleted")]


def test_an_id_used_twice_is_two_calls_and_two_at_once_are_told_apart() -> None:
    asking = {"role": "assistant", "content": None, "tool_calls": [call("f", "{}", id="x")]}
    events = chat(
        asking,
        {"role": "tool", "tool_call_id": "x", "content": "1"},
        asking,
        {"role": "tool", "tool_call_id": "x", "content": "2"},
    )
    completed = payloads(events, "ToolCallCompleted")
    assert [(c["tool_call_id"], c["output"]) for c in completed] == [("x", "1"), ("x", "2")]
    at_once = chat({"role": "assistant", "tool_calls": [call("f", "{}", id="x"), call("f", "{}", id="x")]})
    assert [c["tool_call_id"] for c in payloads(at_once, "ToolCallStarted")] == ["x", "x#2"]


def test_a_result_without_its_call_is_a_call_and_a_call_without_result_stays_open() -> None:
    events = chat(
        {"role": "tool", "tool_call_id": "lost", "name": "f", "content": "1"},
        {"role": "assistant", "content": None, "tool_calls": [call("g", "{}", id="never")]},
    )
    assert [(c["tool_call_id"], c["tool_name"]) for c in payloads(events, "ToolCallCompleted")] == [("lost", "f")]
    assert [c["tool_call_id"] for c in payloads(events, "ToolCallStarted")] == ["never"]


def test_what_is_measured_is_not_estimated() -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "prompt_tokens_details": {"cached_tokens": 60},
        "completion_tokens_details": {"reasoning_tokens": 20},
    }
    events = session(
        {
            "model": "gpt-4o",
            "messages": [
                {"role": "user", "content": "hi", "created": 1_700_000_100},
                {"role": "assistant", "content": "yes", "usage": usage, "timestamp": "2023-11-14T22:15:02Z"},
                {"role": "assistant", "content": "more"},
            ],
        }
    )
    measured, guessed = (event for event in events if kind_of(event) == "ModelCallCompleted")
    tokens = {name: count for name, count in measured["payload"][1].items() if name.endswith("_tokens")}
    assert tokens == {
        "input_tokens": 40,
        "cached_input_tokens": 60,
        "cache_write_tokens": 0,
        "output_tokens": 30,
        "reasoning_tokens": 20,
    }
    assert measured["estimated"] == ["provider", "latency_ms"]
    assert measured["occurred_at"] == 1_700_000_102_000_000
    assert set(guessed["estimated"]) == {"occurred_at", "provider", "input_tokens", "output_tokens", "latency_ms"}
    assert (guessed["payload"][1]["input_tokens"], guessed["payload"][1]["output_tokens"]) == (2, 1)


def test_a_logged_request_brings_its_answer() -> None:
    events = session(
        {
            "messages": [{"role": "user", "content": "hi"}],
            "response": {
                "model": "gpt-4o-2024-08-06",
                "choices": [{"message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 9, "completion_tokens": 2},
            },
        }
    )
    assert turns(events) == [("USER", "hi"), ("ASSISTANT", "hello")]
    (completed,) = payloads(events, "ModelCallCompleted")
    assert (completed["model"], completed["input_tokens"], completed["finish_reason"]) == (
        "gpt-4o-2024-08-06",
        9,
        "stop",
    )


# τ-bench and SWE-agent variants


def test_a_tau_bench_run_that_raised_is_failed() -> None:
    events = session(
        {"task_id": 3, "traj": [], "reward": 0.0, "trial": 1, "info": {"error": "boom", "traceback": "at…"}}
    )
    assert payloads(events, "SessionEnded")[0]["error"] == {"type": "error", "message": "boom", "stack": "at…"}
    assert payloads(events, "SessionStarted")[0]["labels"] == {"task_id": "3", "trial": "1", "reward": "0.0"}


def test_tau_bench_actions_in_text_are_tool_calls() -> None:
    said = 'Thought:\nlook\nAction:\n{"name": "get_user", "arguments": {"id": 7}}'
    spoken = 'Action:\n{"name": "respond", "arguments": {"content": "hi"}}'
    messages = [
        {"role": "assistant", "content": said},
        {"role": "user", "content": "API output: Error: user not found"},
        {"role": "assistant", "content": spoken},
        {"role": "user", "content": "thanks"},
    ]
    events = session({"task_id": 0, "traj": messages, "info": None})
    assert [text for _, text in turns(events)] == [m["content"] for m in messages]
    (completed,) = payloads(events, "ToolCallCompleted")
    assert (completed["tool_name"], completed["output"], completed["status"]) == (
        "get_user",
        "Error: user not found",
        "ERROR",
    )
    assert payloads(events, "ToolCallStarted")[0]["input"] == '{"id": 7}'


def swe_step(action: str, observation: str, **more: Any) -> dict[str, Any]:
    return {"action": action, "observation": observation, "response": f"do {action}", "thought": "why", **more}


def test_swe_agent_actions_in_text_keep_their_roles_and_what_was_observed() -> None:
    history: list[dict[str, Any]] = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "demo", "is_demo": True},
        {"role": "assistant", "content": "do ls -a\n", "action": "ls -a\n", "thought": "why"},
        {"role": "user", "content": "seen: x\n$"},
    ]
    events = session({"history": history, "trajectory": [swe_step("ls -a", "x", execution_time=0.5)], "info": {}})
    assert turns(events) == [(m["role"].upper(), m["content"]) for m in history]
    (started,), (completed,) = payloads(events, "ToolCallStarted"), payloads(events, "ToolCallCompleted")
    assert (started["tool_name"], json.loads(started["input"])) == ("ls", {"action": "ls -a\n"})
    assert (completed["output"], completed["latency_ms"]) == ("x", 500.0)


def test_swe_agent_totals_replace_what_was_guessed_and_nothing_that_was_measured() -> None:
    def answer(**usage: int) -> dict[str, Any]:
        return {"role": "assistant", "content": "y", "action": "a", **({"usage": usage} if usage else {})}

    measured = answer(prompt_tokens=10, completion_tokens=2)
    info = {"model_stats": {"tokens_sent": 30, "tokens_received": 2}}
    for history, tokens in (([measured], [(10, 2)]), ([measured, answer()], [(10, 2), (20, 0)])):
        calls = payloads(session({"history": history, "info": info}), "ModelCallCompleted")
        assert [(call["input_tokens"], call["output_tokens"]) for call in calls] == tokens


def test_swe_agent_steps_that_the_history_lacks_are_turns_where_they_happened() -> None:
    history = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": "do a", "action": "a"},
        {"role": "assistant", "content": "do c", "action": "c"},
    ]
    steps = [swe_step("a", "A"), swe_step("b", "B"), swe_step("c", "C"), swe_step("submit", "D")]
    events = session({"history": history, "trajectory": steps})
    assert [text for _, text in turns(events)] == ["go", "do a", "do b", "B", "do c", "do submit", "D"]
    assert [c["output"] for c in payloads(events, "ToolCallCompleted")] == ["A", "B", "C", "D"]


def test_a_trajectory_without_history_begins_with_its_first_query() -> None:
    query = [{"role": "system", "content": [{"type": "text", "text": "s", "cache_control": {}}]}]
    events = session({"trajectory": [swe_step("a", "A", query=query)], "info": {"exit_status": "exit_cost"}})
    assert turns(events) == [("SYSTEM", "s"), ("ASSISTANT", "do a"), ("TOOL", "A")]
    (ended,) = payloads(events, "SessionEnded")
    assert (ended["status"], ended["error"]["type"]) == ("FAILED", "exit_cost")


def test_attempts_are_sessions_and_a_submission_is_never_lost() -> None:
    attempts: list[dict[str, Any]] = [
        {"history": [{"role": "user", "content": str(n)}], "trajectory": [], "info": {"submission": f"patch {n}"}}
        for n in range(2)
    ]
    found = read(json.dumps({**attempts[1], "attempts": attempts}))
    assert len({one.session_id for one in found if isinstance(one, RecordedSession)}) == len(found) == 2
    ended = [payloads(on_the_wire(one), "SessionEnded")[0] for one in found if isinstance(one, RecordedSession)]
    assert [end["reason"] for end in ended] == ["patch 0", "patch 1"]


# Files


def test_the_session_is_the_same_wherever_it_stands_but_not_in_another_organisation() -> None:
    one, two = {"messages": [{"role": "user", "content": "1"}]}, {"messages": [{"role": "user", "content": "2"}]}

    def ids(data: str | bytes, **options: Any) -> list[str]:
        return [found.session_id for found in read(data, **options) if isinstance(found, RecordedSession)]

    array = ids(json.dumps([one, two]))
    assert array == list(reversed(ids(f"{json.dumps(two)}\n\n  {json.dumps(one)}\n")))
    assert ids(gzip.compress(json.dumps(one).encode())) == array[:1]
    assert ids(json.dumps(one), agent="other") == array[:1]
    assert ids(json.dumps(one), org_id="other") != array[:1]


@pytest.mark.parametrize(
    "data",
    [
        '[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]',
        '{"role":"user","content":"a"}\n{"role":"assistant","content":"b"}\n',
        '{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}',
        '[[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]]',
        '\ufeff\n [{"role":"user","content":"a"},{"role":"assistant","content":"b"}]  \n',
    ],
)
def test_a_chat_is_one_session_however_it_is_written(data: str) -> None:
    (found,) = read(data)
    assert isinstance(found, RecordedSession)
    assert turns(on_the_wire(found)) == [("USER", "a"), ("ASSISTANT", "b")]


def _gzipped(data: bytes) -> bytes:
    # The time in the header would give a case another name each second, and two processes must agree on the names.
    return gzip.compress(data, mtime=0)


def good(text: str) -> str:
    return json.dumps({"messages": [{"role": "user", "content": text}]}, ensure_ascii=False)


@pytest.mark.parametrize(
    ("data", "sessions", "errors"),
    [
        (b"", 0, ["record 0, line 1, byte 0: the file is empty"]),
        (b"[]", 0, ["record 0, line 1, byte 1: the array is empty"]),
        (b"a,b\n1,2\n", 0, ["record 0, line 1, byte 0: not JSON: Expecting value"]),
        (b"<html>", 0, ["record 0, line 1, byte 0: not JSON: Expecting value"]),
        (b'{"a": 1}', 0, ["record 0 (line 1): of no known format (tau-bench, swe-agent, openai-chat); choose"]),
        (b"17", 0, ["record 0 (line 1): of no known format"]),
        (b'{"messages": []}', 0, ["record 0 (line 1): the list of messages is empty"]),
        (b'{"messages": [{"role": "user"}, 5]}', 0, ["record 0 (line 1): message 1 is a number, not an object"]),
        (b'{"messages": [{"content": "x"}]}', 0, ["record 0 (line 1): message 0 has no role"]),
        (b'[{"role": "critic"}]', 0, ["record 0 (line 1): message 0 role 'critic' is none of system, developer,"]),
        (b'{"messages": [{"role": "user", "content": "cut', 0, ["record 0, line 1, byte 42: cut off (Unterminated"]),
        (f"[{good('1')}, {good('2')[:9]}".encode(), 1, ["record 1, line 1, byte 52: cut off"]),
        (f"[{good('1')}, {good('2')}".encode(), 2, ["record 2, line 1, byte 99: cut off (expected ',' or ']')"]),
        (f"[{good('1')} {good('2')}]".encode(), 1, ["record 1, line 1, byte 50: expected ',' or ']'"]),
        (f"[{good('1')}] x".encode(), 1, ["record 1, line 1, byte 51: unexpected 'x' after the end"]),
        (f"{good('1')}\n{{bad\n{good('3')}\n".encode(), 2, ["record 1, line 2, byte 50: not JSON: Expecting property"]),
        (f"[{good('1')}, 5, {good('3')}]".encode(), 2, ["record 1 (line 1): of no known format"]),
        (f"[{good('1')}, {good('é')}]".encode("latin-1"), 1, ["record 1, line 1, byte 94: not UTF-8"]),
        (_gzipped(good("1").encode())[:30], 0, ["cut off"]),
        (_gzipped(good("1").encode()) + _gzipped(b"\n" + good("2").encode()), 2, []),
        # The checksum alone is wrong, and the data within: what stands before is whole.
        (_gzipped(f"{good('1')}\n{good('2')}".encode())[:-8] + bytes(8), 2, ["the gzip data is damaged"]),
        (_gzipped(good("1").encode()) + b"trailing", 1, ["bytes after the end of the gzip data"]),
        (b"[" * 100_000, 0, ["record 0, line 1, byte 1: cannot be read: nested too deeply"]),
        (
            b'{"messages": [{"role": "user", "content": 1' + b"0" * 5000 + b"}]}",
            0,
            ["cannot be read: Exceeds the limit"],
        ),
    ],
)
def test_damage_is_said_and_costs_only_what_it_is_in(data: bytes, sessions: int, errors: list[str]) -> None:
    found = read(data)
    assert sum(isinstance(one, RecordedSession) for one in found) == sessions
    told = [str(one) for one in found if isinstance(one, ImportFailed)]
    assert len(told) == len(errors), told
    for said, error in zip(told, errors, strict=True):
        assert said.startswith("file: ")
        assert error in said
        assert "\n" not in said


def test_messages_one_a_line_are_never_half_a_session() -> None:
    (found,) = read('{"role":"user","content":"a"}\n{"role":"assis')
    assert isinstance(found, ImportFailed)
    assert "record 1, line 2" in str(found)


@pytest.mark.parametrize(
    ("format_name", "reason"),
    [
        ("tau-bench", "not a tau-bench run: it has no list called traj"),
        ("swe-agent", "not a swe-agent trajectory: it has no list called trajectory or history"),
    ],
)
def test_a_file_of_another_format_says_so(format_name: str, reason: str) -> None:
    (found,) = read(good("x"), format_name)
    assert str(found) == f"file: record 0 (line 1): {reason}"


def test_an_unknown_format_is_a_mistake() -> None:
    with pytest.raises(UserError, match="format: 'xml' is none of auto, tau-bench, swe-agent, openai-chat"):
        read("{}", "xml")


def test_a_huge_message_is_kept_whole_and_a_larger_one_cut_with_its_size() -> None:
    huge = "é" * (4 * 1024 * 1024)
    events = chat({"role": "user", "content": huge}, {"role": "user", "content": huge + "x"})
    whole, cut = (event for event in events if kind_of(event) == "TurnRecorded")
    assert whole["payload"][1]["content"] == huge == cut["payload"][1]["content"]
    assert [mark["original_bytes"] for mark in cut["truncations"]] == [len(huge.encode()) + 1]


SAMPLES = sorted((Path(__file__).parents[3] / "producers" / "samples").glob("*.json"))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_our_own_sample_is_read_with_what_it_measured(path: Path) -> None:
    (found,) = read(path.read_bytes())
    assert isinstance(found, RecordedSession)
    assert "input_tokens" not in found.estimated
    assert [c["tool_name"] for c in payloads(on_the_wire(found), "ToolCallCompleted")] == [
        "list_invoices",
        "get_invoice",
        "list_account_events",
        "refund_invoice",
    ]
