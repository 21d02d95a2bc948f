"""Laws of the SDK: any object becomes JSON, any text fits the wire, and numbers have no holes."""

import json
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from procurator.producers import Procurator
from procurator.producers.json_text import to_json
from procurator.producers.limits import fit
from procurator.producers.memory import MemoryTransport

any_text = st.text(st.characters(codec=None), max_size=12)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | any_text | st.binary(max_size=8) | st.dates()
keys = any_text | st.integers() | st.none() | st.tuples(st.integers())
any_object = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4) | st.tuples(inner),
    max_leaves=12,
)
plain_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=12,
)


@given(any_object)
def test_any_object_is_valid_json_in_valid_utf8(value: Any) -> None:
    text = to_json(value)
    json.loads(text, parse_constant=lambda name: (_ for _ in ()).throw(AssertionError(name)))
    text.encode()


@given(plain_json)
def test_what_json_can_say_comes_back_the_same(value: Any) -> None:
    assert json.loads(to_json(value)) == value


@given(any_text, any_text)
def test_any_text_fits_and_is_only_marked_when_changed(content: str, message: str) -> None:
    payload = {"content": content, "thinking": None, "error": {"message": message}}
    _, redactions = fit(payload)
    changed = {mark["field"] for mark in redactions}
    assert ("content" in changed) == (payload["content"] != content)
    assert ("error.message" in changed) == (payload["error"]["message"] != message)  # type: ignore[index]
    str(payload["content"]).encode()


calls = st.tuples(st.just("tool"), any_text, any_object)
turns = st.tuples(st.just("turn"), any_text, any_object)
models = st.tuples(st.just("model"), any_text, st.integers(0, 2**53))


@given(st.lists(calls | turns | models, max_size=12))
def test_whatever_an_agent_does_is_recorded_in_order_by_the_ledgers_rules(acts: list[tuple[str, str, Any]]) -> None:
    transport = MemoryTransport()
    with Procurator(transport=transport, environment={}) as procurator, procurator.session() as session:
        for act, text, value in acts:
            if act == "turn":
                session.turn("assistant", value, thinking=text)
            elif act == "tool":
                with session.tool_call(text, value) as call:
                    call.complete(value, error_message=text)
            else:
                with session.model_call(text, text) as model_call:
                    model_call.complete(input_tokens=value, finish_reason=text)
    events = transport.events  # Decoded from the bytes, and checked by the ledger's own rules.
    assert [event["sequence"] for event in events] == list(range(len(events)))
    assert session.events == len(events)
    assert all(math.isfinite(event["occurred_at"]) for event in events)
