"""τ-bench runs: ``{task_id, reward, info, traj, trial}``, where ``traj`` is a chat transcript.

Source: sierra-research/tau-bench, ``run.py`` and ``envs/base.py``: a tool that raises answers ``Error: …``; a run that
raised has an empty ``traj`` and ``info`` with ``error`` and ``traceback``. Agents that reason in text
(``agents/chat_react_agent.py``) write ``Action:`` and JSON, and the user's message brings the result after
``API output: ``.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from procurator.producers.importers.messages import Call, Execution, Message, NoMessage, to_text
from procurator.producers.importers.openai_chat import read_messages
from procurator.producers.importers.recording import ImportOptions, Recording

NAME = "tau-bench"
_ACTION = "Action:"
_RESULT = "API output: "
_RESPOND = "respond"


def matches(value: object) -> bool:
    """Return whether a document is of this format."""
    return isinstance(value, Mapping) and "traj" in value


def recordings(value: Any, options: ImportOptions, started_us: int) -> Iterator[Recording]:
    """Yield the session in a document. Raises NoMessage saying what is wrong with it."""
    if not isinstance(value, Mapping) or not isinstance(value.get("traj"), list):
        raise NoMessage("not a tau-bench run: it has no list called traj")
    info = value["info"] if isinstance(value.get("info"), Mapping) else {}
    task = info["task"] if isinstance(info.get("task"), Mapping) else {}
    recording = Recording(
        agent=options.agent or NAME,
        started_us=started_us,
        identity=value,
        model=options.model or "unknown",
        provider=options.provider,
        user=options.user or (str(task["user_id"]) if task.get("user_id") else None),
        labels={name: to_text(value[name]) for name in ("task_id", "trial", "reward") if value.get(name) is not None},
        error_prefix="Error: ",
    )
    recording.converse(_with_text_actions(read_messages(value["traj"])))
    if info.get("error"):
        error = {"type": "error", "message": to_text(info["error"]), "stack": to_text(info.get("traceback")) or None}
        recording.end("FAILED", error=error)
    else:
        recording.end("COMPLETED", is_guess=True)
    yield recording


def _with_text_actions(messages: Sequence[Message]) -> list[Message]:
    """Return the messages with the calls that stand in their text; a result is one only when it says so."""
    found = []
    for message, following in pairwise([*messages, Message("USER", "")]):
        call = _text_action(message) if following.text.startswith(_RESULT) else None
        if call is None:
            found.append(message)
        else:
            output = following.text.removeprefix(_RESULT)
            found.append(replace(message, calls=(call,), execution=Execution(output, None)))
    return found


def _text_action(message: Message) -> Call | None:
    if message.role != "ASSISTANT" or message.calls or _ACTION not in message.text:
        return None
    try:
        action = json.loads(message.text.rpartition(_ACTION)[2])
    except (ValueError, RecursionError):
        return None
    if not isinstance(action, Mapping) or "name" not in action or action["name"] == _RESPOND:
        return None
    return Call(None, str(action["name"]), to_text(action.get("arguments")))
