"""Usage as the vendors document it, in our buckets: nothing is counted twice, nothing is lost."""

from types import SimpleNamespace
from typing import Any

import pytest

from procurator.events import kind_of
from procurator.producers import Procurator
from procurator.producers.memory import MemoryTransport
from procurator.producers.vendor_usage import UNKNOWN, Usage, usage_of

OPENAI_CHAT = {
    "prompt_tokens": 2006,
    "completion_tokens": 300,
    "total_tokens": 2306,
    "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 192,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}
OPENAI_RESPONSES = {
    "input_tokens": 328,
    "input_tokens_details": {"cached_tokens": 128},
    "output_tokens": 52,
    "output_tokens_details": {"reasoning_tokens": 12},
    "total_tokens": 380,
}
ANTHROPIC = {
    "input_tokens": 50,
    "cache_creation_input_tokens": 248,
    "cache_read_input_tokens": 1800,
    "cache_creation": {"ephemeral_5m_input_tokens": 148, "ephemeral_1h_input_tokens": 100},
    "output_tokens": 503,
    "server_tool_use": None,
    "service_tier": "standard",
}
GEMINI = {
    "promptTokenCount": 1000,
    "cachedContentTokenCount": 600,
    "candidatesTokenCount": 70,
    "thoughtsTokenCount": 30,
    "toolUsePromptTokenCount": 25,
    "totalTokenCount": 1125,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 1000}],
}
GEMINI_OBJECT = {
    "prompt_token_count": 1000,
    "cached_content_token_count": 600,
    "candidates_token_count": 70,
    "thoughts_token_count": 30,
    "tool_use_prompt_token_count": 25,
    "total_token_count": 1125,
}
BEDROCK = {
    "inputTokens": 13,
    "outputTokens": 80,
    "totalTokens": 1593,
    "cacheReadInputTokens": 1200,
    "cacheWriteInputTokens": 300,
}


def as_object(value: Any) -> Any:
    """Return what the vendors' libraries make of such JSON: attributes all the way down."""
    if isinstance(value, dict):
        return SimpleNamespace(**{name: as_object(item) for name, item in value.items()})
    return value


@pytest.mark.parametrize("form", [dict, as_object], ids=["json", "object"])
@pytest.mark.parametrize(
    ("reported", "expected", "total"),
    [
        (OPENAI_CHAT, Usage(86, 1920, 0, 108, 192), 2306),
        (OPENAI_RESPONSES, Usage(200, 128, 0, 40, 12), 380),
        (ANTHROPIC, Usage(50, 1800, 248, 503, 0), 50 + 1800 + 248 + 503),
        ({**ANTHROPIC, "output_tokens_details": {"thinking_tokens": 400}}, Usage(50, 1800, 248, 103, 400), 2601),
        (GEMINI, Usage(425, 600, 0, 70, 30), 1125),
        (GEMINI_OBJECT, Usage(425, 600, 0, 70, 30), 1125),
        (BEDROCK, Usage(13, 1200, 300, 80, 0), 1593),
    ],
    ids=["openai chat", "openai responses", "anthropic", "anthropic thinking", "gemini", "gemini object", "bedrock"],
)
def test_documented_shapes(form: Any, reported: dict[str, Any], expected: Usage, total: int) -> None:
    found = usage_of(form(reported))
    assert found == expected
    assert sum(found[:5]) == total  # What the vendor says in all: every token stands in one bucket.


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}, Usage(9, 0, 0, 12)),
        ({**OPENAI_CHAT, "prompt_tokens_details": None, "completion_tokens_details": None}, Usage(2006, 0, 0, 300)),
        ({"prompt_tokens": 8, "total_tokens": 8}, Usage(8)),  # embeddings
        ({"input_tokens": 5, "output_tokens": 6}, Usage(5, 0, 0, 6)),
        (
            {"input_tokens": 5, "cache_read_input_tokens": None, "cache_creation_input_tokens": 0, "output_tokens": 6},
            Usage(5, 0, 0, 6),
        ),
        ({"promptTokenCount": 7, "totalTokenCount": 7}, Usage(7)),  # a prompt that was blocked
        ({"inputTokens": 3, "outputTokens": 4, "totalTokens": 7}, Usage(3, 0, 0, 4)),
        (
            {**OPENAI_CHAT, "prompt_tokens_details": {"cached_tokens": 1000, "cache_write_tokens": 1000}},
            Usage(6, 1000, 1000, 108, 192),
        ),
    ],
)
def test_what_is_left_out_is_zero(reported: dict[str, Any], expected: Usage) -> None:
    assert usage_of(reported) == expected


@pytest.mark.parametrize("reported", [None, {}, [], "12", object(), {"tokens": 5}, {"prompt_tokens": None}])
def test_unknown_shapes_are_guesses(reported: object) -> None:
    assert usage_of(reported) is UNKNOWN


def test_contradictions_are_guesses_and_never_negative() -> None:
    found = usage_of({"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 9}, "completion_tokens": -1})
    assert found == Usage(0, 9, 0, 0, 0, ("input_tokens",))


def test_a_model_call_takes_it_as_it_is() -> None:
    transport = MemoryTransport()
    with Procurator(transport=transport, environment={}) as procurator, procurator.session() as session:
        with session.model_call("anthropic", "claude-sonnet-4-5") as call:
            call.complete(usage=as_object(ANTHROPIC))
        with session.model_call("acme", "new") as call:
            call.complete(usage={"tokens": 5}, estimated=["latency_ms"])
    known, unknown = (event for event in transport.events if kind_of(event) == "ModelCallCompleted")
    assert (known["payload"][1]["cache_write_tokens"], known["estimated"]) == (248, [])
    assert (unknown["payload"][1]["input_tokens"], len(unknown["estimated"])) == (0, 6)
