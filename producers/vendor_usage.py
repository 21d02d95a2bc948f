"""What model vendors report as usage, in our disjoint buckets. Pure.

They do not mean the same by "input" and "output". Each line is what a vendor's documentation says; ⊂: is part of.

=================  ==================================================  ====================================
vendor             input                                               output
=================  ==================================================  ====================================
OpenAI chat        cached_tokens, cache_write_tokens ⊂ prompt_tokens   reasoning_tokens ⊂ completion_tokens
OpenAI responses   cached_tokens, cache_write_tokens ⊂ input_tokens    reasoning_tokens ⊂ output_tokens
Anthropic          input_tokens, cache_read_…, cache_creation_…        thinking_tokens ⊂ output_tokens
                   apart from one another
Gemini, Vertex     cachedContentTokenCount ⊂ promptTokenCount;         thoughtsTokenCount apart from
                   toolUsePromptTokenCount apart from it               candidatesTokenCount
Bedrock Converse   inputTokens, cacheRead…, cacheWrite… apart          outputTokens
=================  ==================================================  ====================================

Objects of the vendors' libraries and the JSON they are made of are read alike; the shape tells the vendor, since the
same shape is served by many. What has none of these shapes, or contradicts itself, is a guess and said to be one.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from procurator.events import INTEGER_MAX, TOKEN_BUCKETS


class Usage(NamedTuple):
    """Tokens in our buckets; ``estimated`` names those that are guesses."""

    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: tuple[str, ...] = ()


UNKNOWN = Usage(estimated=TOKEN_BUCKETS)


def usage_of(reported: object) -> Usage:
    """Return the tokens that a vendor reported: its usage object, or the mapping it was made of.

    ``UNKNOWN`` for what has no known shape, None included.
    """
    for name, read in _SHAPES:
        if _field(reported, name) is not None:
            return read(reported)
    return UNKNOWN


def _openai_chat(reported: object) -> Usage:
    return _inclusive(reported, "prompt_tokens", "completion_tokens")


def _openai_responses(reported: object) -> Usage:
    return _inclusive(reported, "input_tokens", "output_tokens")


def _inclusive(reported: object, input_name: str, output_name: str) -> Usage:
    """Read what counts cached tokens as input, and reasoning as output."""
    details, made = _field(reported, f"{input_name}_details"), _field(reported, f"{output_name}_details")
    return _disjoint(
        _count(reported, input_name),
        _count(details, "cached_tokens"),
        _count(details, "cache_write_tokens"),
        _count(reported, output_name),
        _count(made, "reasoning_tokens"),
    )


def _anthropic(reported: object) -> Usage:
    cached, written = _count(reported, "cache_read_input_tokens"), _count(reported, "cache_creation_input_tokens")
    return _disjoint(
        _count(reported, "input_tokens") + cached + written,
        cached,
        written,
        _count(reported, "output_tokens"),
        _count(_field(reported, "output_tokens_details"), "thinking_tokens"),
    )


def _by_name(reported: object) -> Usage:
    """Tell Anthropic from OpenAI's responses, which both say ``input_tokens``."""
    is_anthropic = any(
        _field(reported, name) is not None for name in ("cache_read_input_tokens", "cache_creation_input_tokens")
    )
    return _anthropic(reported) if is_anthropic else _openai_responses(reported)


def _gemini(reported: object) -> Usage:
    thoughts = _gemini_count(reported, "thoughts")
    return _disjoint(
        _gemini_count(reported, "prompt") + _gemini_count(reported, "tool_use_prompt"),
        _gemini_count(reported, "cached_content"),
        0,
        _gemini_count(reported, "candidates") + thoughts,
        thoughts,
    )


def _gemini_count(reported: object, what: str) -> int:
    first, *rest = f"{what}_token_count".split("_")
    return _count(reported, f"{what}_token_count") or _count(reported, first + "".join(map(str.capitalize, rest)))


def _bedrock(reported: object) -> Usage:
    cached, written = _count(reported, "cacheReadInputTokens"), _count(reported, "cacheWriteInputTokens")
    fresh = _count(reported, "inputTokens")
    return _disjoint(fresh + cached + written, cached, written, _count(reported, "outputTokens"), 0)


def _disjoint(taken: int, cached: int, written: int, made: int, reasoning: int) -> Usage:
    """Return the buckets of totals and their parts; where the parts are more than the total, the rest is a guess."""
    estimated = []
    if cached + written > taken:
        estimated.append("input_tokens")
    if reasoning > made:
        estimated.append("output_tokens")
    fresh, said = max(0, taken - cached - written), max(0, made - reasoning)
    return Usage(fresh, cached, written, said, reasoning, tuple(estimated))


#: The field by which a shape is known, and what reads it; the first that is there decides.
_SHAPES: tuple[tuple[str, Callable[[object], Usage]], ...] = (
    ("prompt_tokens", _openai_chat),
    ("input_tokens", _by_name),
    ("inputTokens", _bedrock),
    ("prompt_token_count", _gemini),
    ("promptTokenCount", _gemini),
)


def _field(holder: object, name: str) -> Any:
    if isinstance(holder, Mapping):
        return holder.get(name)
    return getattr(holder, name, None)


def _count(holder: object, name: str) -> int:
    """Return a number of tokens, 0 where there is none that makes sense."""
    value = _field(holder, name)
    return value if isinstance(value, int) and 0 <= value <= INTEGER_MAX else 0
