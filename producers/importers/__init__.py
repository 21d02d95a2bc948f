"""Recorded sessions of other systems as session events: `read_sessions` turns the bytes of a file into sessions.

One module a format; each has ``NAME``, ``matches(document)`` and ``recordings(document, options, started_us)``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from procurator.errors import UserError
from procurator.events import SessionEvent
from procurator.producers.importers import openai_chat, swe_agent, tau_bench
from procurator.producers.importers.documents import Document, ImportFailed, read_documents
from procurator.producers.importers.envelopes import envelopes
from procurator.producers.importers.estimates import STEP_US
from procurator.producers.importers.messages import NoMessage
from procurator.producers.importers.recording import ImportOptions, Recording

__all__ = ["AUTO", "FORMATS", "ImportFailed", "ImportOptions", "RecordedSession", "read_sessions"]

AUTO = "auto"


class Format(Protocol):
    """What a format's module has."""

    NAME: str
    matches: Callable[[object], bool]
    recordings: Callable[[Any, ImportOptions, int], Iterator[Recording]]


#: In the order in which `auto` asks: the more particular first.
FORMATS: dict[str, Format] = {module.NAME: module for module in (tau_bench, swe_agent, openai_chat)}


@dataclass(frozen=True, slots=True)
class RecordedSession:
    """One session of a file, ready to publish. ``estimated`` names the fields of which some value is a guess."""

    source: str
    position: int
    session_id: str
    events: list[SessionEvent]
    estimated: list[str]


def read_sessions(
    source: str, data: bytes, format_name: str, options: ImportOptions, started_us: int
) -> Iterator[RecordedSession | ImportFailed]:
    """Yield the sessions in a file's bytes in order, and an ImportFailed for each part that is none.

    ``format_name`` is one of FORMATS or AUTO; ``started_us`` stands for the start of what has no time of its own: the
    session at position n starts n steps later. Raises UserError for an unknown format, nothing else.
    """
    if format_name != AUTO and format_name not in FORMATS:
        raise UserError(f"format: {format_name!r} is none of {', '.join((AUTO, *FORMATS))}")
    yield from (
        found
        for document in _joined(read_documents(source, data), format_name)
        for found in _sessions(source, document, format_name, options, started_us)
    )


def _sessions(
    source: str, document: Document | ImportFailed, format_name: str, options: ImportOptions, started_us: int
) -> Iterator[RecordedSession | ImportFailed]:
    if isinstance(document, ImportFailed):
        yield document
        return
    at = document.position
    form = FORMATS.get(format_name) or next((f for f in FORMATS.values() if f.matches(document.value)), None)
    if form is None:
        names = ", ".join(FORMATS)
        yield ImportFailed(source, at, document.where, f"of no known format ({names}); choose one with --format")
        return
    try:
        for recording in form.recordings(document.value, options, started_us + at * STEP_US):
            events = list(envelopes(form.NAME, recording, options))
            yield RecordedSession(source, at, events[0]["session_id"], events, recording.estimated)
    except NoMessage as error:
        yield ImportFailed(source, at, document.where, str(error))
    except RecursionError:
        yield ImportFailed(source, at, document.where, "nested too deeply")


def _joined(documents: Iterator[Document | ImportFailed], format_name: str) -> Iterator[Document | ImportFailed]:
    """Yield the documents; messages that stand one a line are one document, which no part may be missing from."""
    first = next(documents, None)
    chat = format_name in (AUTO, openai_chat.NAME)
    if first is None or not (chat and isinstance(first, Document) and _is_message(first.value)):
        if first is not None:
            yield first
        yield from documents
        return
    messages = [first.value]
    for document in documents:
        if isinstance(document, ImportFailed):
            yield document
            return
        messages.append(document.value)
    yield Document(0, first.where, messages)


def _is_message(value: object) -> bool:
    return isinstance(value, dict) and "role" in value and "messages" not in value
