"""One chat message of any dialect, as what the ledger records of it. Pure and total: unknown fields are no error.

The text of a message is its ``content`` as it stands. Content that is a list of parts is the parts' texts put together;
a part that is no text (an image, audio) stands as its JSON on a line of its own. A ``refusal`` is text too.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from procurator.clock import EPOCH, to_us
from procurator.events import TIME_US_MAX, TOKEN_BUCKETS
from procurator.producers.session import ROLES

#: Roles of other dialects, in upper case.
_ROLES = {
    **ROLES,
    "HUMAN": "USER",
    "AI": "ASSISTANT",
    "MODEL": "ASSISTANT",
    "BOT": "ASSISTANT",
    "IPYTHON": "TOOL",
    "OBSERVATION": "TOOL",
}
_TEXT_KEYS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
_THINKING_KEYS = {"thinking": "thinking", "reasoning": "text", "redacted_thinking": "data"}


class NoMessage(ValueError):
    """The value is no message; the text says why."""


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call that a message asks for: the id it has there (None if none), its arguments as they stand."""

    source_id: str | None
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Execution:
    """What became of a message's call where that is known beside the conversation."""

    output: str
    latency_ms: float | None


@dataclass(frozen=True, slots=True)
class Message:
    """A message as the ledger has it. ``at_us`` and ``usage`` (token buckets) are None where the source is silent."""

    role: str
    text: str
    thinking: str | None = None
    calls: tuple[Call, ...] = ()
    #: With role TOOL: the id of the call that this answers, and the tool's name.
    result_of: str | None = None
    name: str | None = None
    model: str | None = None
    at_us: int | None = None
    usage: Mapping[str, int] | None = None
    finish_reason: str | None = None
    execution: Execution | None = None
    #: Part of the prompt: no model said it and no tool ran.
    is_demonstration: bool = False

    def with_execution(self, execution: Execution) -> "Message":
        return replace(self, execution=execution)


def read_message(value: object) -> Message:
    """Return the message that ``value`` is. Raises NoMessage when it has no role, or one that means nothing to us."""
    if not isinstance(value, Mapping):
        raise NoMessage(f"is {_kind(value)}, not an object")
    if "role" not in value:
        raise NoMessage("has no role")
    role = _ROLES.get(str(value["role"]).upper())
    if role is None:
        raise NoMessage(f"role {value['role']!r} is none of system, developer, user, assistant, tool, function")
    text, thinking = _texts(value)
    ids = value.get("tool_call_ids")
    result_of = value.get("tool_call_id") or (ids[0] if isinstance(ids, list) and ids else None)
    return Message(
        role=role,
        text=text,
        thinking=thinking,
        calls=tuple(_calls(value)),
        result_of=None if result_of is None else str(result_of),
        name=_optional_text(value.get("name")),
        model=_optional_text(value.get("model")),
        at_us=read_time(next((value[key] for key in ("timestamp", "created_at", "created") if value.get(key)), None)),
        usage=read_usage(value.get("usage")),
        finish_reason=_optional_text(value.get("finish_reason")),
        is_demonstration=bool(value.get("is_demo")),
    )


def text_of(content: object) -> str:
    """Return the text of a message's content: see the module."""
    return _content(content)[0]


def read_usage(value: object) -> dict[str, int] | None:
    """Return OpenAI's usage object in disjoint buckets, None when it is none: their totals include what is a part."""
    if not isinstance(value, Mapping):
        return None
    sent = _count(value, "prompt_tokens", "input_tokens")
    received = _count(value, "completion_tokens", "output_tokens")
    if sent is None or received is None:
        return None
    cached = _detail(value, ("prompt_tokens_details", "input_tokens_details"), "cached_tokens", sent)
    reasoning = _detail(value, ("completion_tokens_details", "output_tokens_details"), "reasoning_tokens", received)
    return dict(zip(TOKEN_BUCKETS, (sent - cached, cached, 0, received - reasoning, reasoning), strict=True))


def read_time(value: object) -> int | None:
    """Return µs since the epoch of a Unix time (s, ms or µs, told apart by size) or RFC 3339 text; None if neither."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return None
        us = to_us(moment if moment.tzinfo else moment.replace(tzinfo=UTC)) if moment.year >= EPOCH.year else -1
    elif isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e17:
        us = int(value * (1_000_000 if value < 1e11 else 1000 if value < 1e14 else 1))
    else:
        return None
    return us if 0 <= us <= TIME_US_MAX else None


def to_text(value: object) -> str:
    """Return a text as it stands, anything else as JSON, nothing as the empty text."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _texts(value: Mapping[str, Any]) -> tuple[str, str | None]:
    text, thinking = _content(value.get("content"))
    refusal = value.get("refusal")
    if isinstance(refusal, str) and refusal:
        text = f"{text}\n{refusal}" if text else refusal
    traces = [trace for key in ("thought", "reasoning_content", "reasoning", "thinking") if (trace := value.get(key))]
    blocks = _content(value.get("thinking_blocks"))[1]
    kept: list[str] = []
    for trace in (blocks, thinking, *(to_text(trace) for trace in traces)):
        if trace and trace not in kept:
            kept.append(trace)
    return text, "\n\n".join(kept) or None


def _content(content: object) -> tuple[str, str | None]:
    """Return (text, thinking) of a content: a text, None, or a list of parts."""
    if not isinstance(content, list):
        return to_text(content), None
    text, thinking = "", []
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if isinstance(part, str):
            text += part
        elif isinstance(kind, str) and isinstance(said := part.get(_TEXT_KEYS.get(kind, "")), str):
            text += said
        elif isinstance(kind, str) and isinstance(trace := part.get(_THINKING_KEYS.get(kind, "")), str):
            thinking.append(trace)
        else:
            text += ("\n" if text and not text.endswith("\n") else "") + json.dumps(part, ensure_ascii=False) + "\n"
    return text, "\n\n".join(thinking) or None


def _calls(value: Mapping[str, Any]) -> list[Call]:
    calls = value.get("tool_calls")
    found = [_call(call) for call in calls] if isinstance(calls, list) else []
    if value.get("function_call"):  # The form that OpenAI used before tool calls; it has no id.
        found.append(_call({"function": value["function_call"]}))
    return found


def _call(call: object) -> Call:
    if not isinstance(call, Mapping):
        return Call(None, "unknown", to_text(call))
    function = next((call[key] for key in ("function", "custom") if isinstance(call.get(key), Mapping)), call)
    arguments = next((function[key] for key in ("arguments", "input") if key in function), None)
    source_id = call.get("id") or call.get("call_id")
    return Call(
        None if source_id is None else str(source_id),
        str(function.get("name") or "unknown"),
        to_text(arguments),
    )


def _count(value: Mapping[str, Any], *names: str) -> int | None:
    found = next((value[name] for name in names if name in value), None)
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 <= found <= 2**53 else None


def _detail(value: Mapping[str, Any], holders: tuple[str, ...], name: str, whole: int) -> int:
    holder = next((value[key] for key in holders if isinstance(value.get(key), Mapping)), None)
    return min((_count(holder, name) if holder else None) or 0, whole)


def _optional_text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _kind(value: object) -> str:
    kinds = {str: "a text", list: "an array", int: "a number", float: "a number", bool: "a boolean", dict: "an object"}
    return "null" if value is None else kinds.get(type(value), type(value).__name__)
