"""OpenAI chat transcripts: a list of messages, or an object with ``messages`` (as fine-tuning files and logs have it).

The object may say ``model``; a logged request with its response (``choices``, ``usage``) adds the answer.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from procurator.producers.importers.messages import Message, NoMessage, read_message, read_time
from procurator.producers.importers.recording import ImportOptions, Recording

NAME = "openai-chat"


def matches(value: object) -> bool:
    """Return whether a document is of this format."""
    if isinstance(value, list):
        return bool(value) and isinstance(value[0], Mapping) and "role" in value[0]
    return isinstance(value, Mapping) and ("messages" in value or "role" in value)


def recordings(value: Any, options: ImportOptions, started_us: int) -> Iterator[Recording]:
    """Yield the session in a document. Raises NoMessage saying what is wrong with it."""
    holder = value if isinstance(value, Mapping) else {}
    messages = value if isinstance(value, list) else [value] if "role" in holder else holder.get("messages")
    if not isinstance(messages, list):
        raise NoMessage("not an openai-chat transcript: it has no list of messages")
    messages = [*messages, *_answers(holder)]
    if not messages:
        raise NoMessage("the list of messages is empty")
    recording = Recording(
        agent=options.agent or "chat",
        started_us=read_time(holder.get("created") or holder.get("created_at")) or started_us,
        identity=value,
        model=options.model or str(holder.get("model") or "unknown"),
        provider=options.provider,
        user=options.user or (holder["user"] if isinstance(holder.get("user"), str) else None),
    )
    recording.converse(read_messages(messages))
    recording.end("COMPLETED", is_guess=True)
    yield recording


def _answers(holder: Mapping[str, Any]) -> list[Any]:
    """Return the message of a logged response, with the usage and model that stand beside it."""
    response = holder["response"] if isinstance(holder.get("response"), Mapping) else holder
    choices = response.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        return []
    message = choices[0].get("message")
    if not isinstance(message, Mapping):
        return []
    beside = {"usage": response.get("usage"), "model": response.get("model"), "created": response.get("created")}
    return [{**beside, "finish_reason": choices[0].get("finish_reason"), **message}]


def read_messages(values: Sequence[object]) -> list[Message]:
    """Return the messages; raises NoMessage naming the one that is none by its index."""
    messages = []
    for index, value in enumerate(values):
        try:
            messages.append(read_message(value))
        except NoMessage as error:
            raise NoMessage(f"message {index} {error}") from None
    return messages
