"""Laws of the importers: they are total, exact and deterministic, whatever JSON or bytes they are given."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.events import kind_of, parse
from procurator.producers.importers import FORMATS, ImportFailed, ImportOptions, RecordedSession, read_sessions
from procurator.producers.importers.estimates import share

SCHEMA = load_schema("session_event")
DECODER = Decoder(SCHEMA, lambda _: SCHEMA.text)

any_text = st.text(st.characters(codec=None), max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | any_text
any_json = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3), max_leaves=8
)
#: Objects that look like what the parsers look for, with anything where they look.
FIELDS = [
    "role",
    "content",
    "tool_calls",
    "tool_call_id",
    "tool_call_ids",
    "name",
    "function",
    "function_call",
    "arguments",
    "id",
    "type",
    "text",
    "refusal",
    "usage",
    "model",
    "thought",
    "action",
    "is_demo",
    "timestamp",
    "created",
    "thinking_blocks",
    "prompt_tokens",
    "completion_tokens",
]
roles = st.sampled_from(["user", "assistant", "tool", "system", "function"])
near_json = st.recursive(
    any_json | roles,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5),
    max_leaves=12,
)
messages = st.fixed_dictionaries({"role": roles}, optional={name: near_json for name in FIELDS if name != "role"})
documents = st.one_of(
    near_json,
    st.lists(messages, max_size=4),
    st.fixed_dictionaries({"messages": st.lists(messages, max_size=4)}, optional={"response": near_json}),
    st.fixed_dictionaries({"traj": st.lists(messages, max_size=4)}, optional={"info": near_json, "task_id": near_json}),
    st.fixed_dictionaries(
        {"history": st.lists(messages, max_size=4)},
        optional={
            "trajectory": st.lists(
                st.dictionaries(
                    st.sampled_from(["action", "observation", "response", "execution_time", "query"]), near_json
                )
            ),
            "info": st.dictionaries(st.sampled_from(["model_stats", "exit_status", "submission"]), near_json),
            "attempts": near_json,
            "replay_config": near_json,
        },
    ),
)
formats = st.sampled_from(["auto", *FORMATS])


def read(data: bytes, format_name: str) -> list[RecordedSession | ImportFailed]:
    return list(read_sessions("file", data, format_name, ImportOptions(), 1_700_000_000_000_000))


@given(documents, formats)
def test_any_json_becomes_events_that_keep_every_rule_or_one_line(document: Any, format_name: str) -> None:
    for found in read(json.dumps(document).encode(), format_name):
        if isinstance(found, ImportFailed):
            assert "\n" not in str(found)
            continue
        events = [parse(DECODER, SCHEMA.encode(event, 1)) for event in found.events]
        assert [event["sequence"] for event in events] == list(range(len(events)))
        assert kind_of(events[0]) == "SessionStarted"
        assert kind_of(events[-1]) == "SessionEnded"


@given(st.binary(max_size=60), formats)
def test_any_bytes_are_read_without_an_error_of_ours(data: bytes, format_name: str) -> None:
    for prefix in (b"", b"\x1f\x8b", b'[{"role":"user"}', b'{"messages":'):
        read(prefix + data, format_name)


conversations = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system"]), "content": st.text(max_size=20)}),
    min_size=1,
    max_size=8,
)


@given(st.lists(conversations, min_size=1, max_size=4), st.integers(0, 400))
def test_a_cut_file_gives_its_whole_sessions_and_never_part_of_one(said: list[Any], cut: int) -> None:
    whole = json.dumps([{"messages": messages} for messages in said]).encode()
    complete = [found.session_id for found in read(whole, "auto") if isinstance(found, RecordedSession)]
    found = read(whole[: -1 - cut % len(whole)], "auto")
    ids = [one.session_id for one in found if isinstance(one, RecordedSession)]
    assert ids == complete[: len(ids)]
    assert isinstance(found[-1], ImportFailed)


@given(conversations)
def test_messages_are_turns_exactly_and_importing_again_is_the_same_session(said: list[dict[str, str]]) -> None:
    data = json.dumps(said).encode()
    (one,), (again,) = read(data, "auto"), read(data, "openai-chat")
    assert isinstance(one, RecordedSession)
    assert isinstance(again, RecordedSession)
    turns = [event["payload"][1] for event in one.events if kind_of(event) == "TurnRecorded"]
    assert [(turn["role"].lower(), turn["content"]) for turn in turns] == [(m["role"], m["content"]) for m in said]

    def sameness(found: RecordedSession) -> list[Any]:
        return [{**event, "nonce": b""} for event in found.events]

    assert sameness(one) == sameness(again)
    assert {event["nonce"] for event in one.events}.isdisjoint(event["nonce"] for event in again.events)


@given(st.integers(0, 10**24), st.lists(st.integers(0, 10**6), min_size=1, max_size=20))
def test_shares_are_exact(total: int, weights: list[int]) -> None:
    shares = share(total, weights)
    assert sum(shares) == total
    assert min(shares) >= 0
    assert len(shares) == len(weights)
