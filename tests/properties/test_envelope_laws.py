"""The hot path writes what the general decoder reads, in the order of the schema, for any session and payload."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from procurator.avro_schemas.codec import HEADER, MAGIC, Decoder, load_schema
from procurator.events import HEARTBEAT, TIME_US_MAX, TURN_RECORDED
from procurator.producers.envelope import Envelope

SCHEMA = load_schema("session_event")
DECODER = Decoder(SCHEMA, lambda _: SCHEMA.text)
text = st.text(st.characters(codec="utf-8"), max_size=12)
turn = st.fixed_dictionaries(
    {
        "turn_index": st.integers(0, 2**31 - 1),
        "role": st.sampled_from(["USER", "ASSISTANT"]),
        "content": text,
        "thinking": st.none() | text,
        "tool_call_id": st.none(),
        "model_call_id": st.none() | text,
    }
)


@given(
    st.tuples(text, text, text, text, text),
    st.integers(0, 2**53),
    st.integers(0, TIME_US_MAX) | st.integers(1_790_000_000_000_000, 1_790_000_300_000_000),
    st.tuples(st.just(TURN_RECORDED), turn) | st.tuples(st.just(HEARTBEAT), st.just({"idle_ms": 5})),
    st.lists(text, max_size=2),
)
def test_what_the_hot_path_writes_is_the_event(
    identity: tuple[str, str, str, str, str],
    sequence: int,
    occurred_at: int,
    payload: tuple[str, dict[str, Any]],
    estimated: list[str],
) -> None:
    body = Envelope(*identity).encode(sequence, occurred_at, *payload, estimated)
    framed = HEADER.pack(MAGIC, 7) + body
    event = DECODER.decode(framed)
    names = ("emitter_id", "session_id", "org_id", "agent_id", "owner_team_id")
    assert tuple(event[name] for name in names) == identity
    assert (event["sequence"], event["occurred_at"], event["imported"]) == (sequence, occurred_at, False)
    assert (event["payload"], event["estimated"]) == (payload, estimated)
    assert SCHEMA.encode(event, 7) == framed
