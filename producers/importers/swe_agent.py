"""SWE-agent trajectories: ``{trajectory, history, info, environment, replay_config}``, versions 0.x to 1.x.

``history`` is the conversation as the model saw it, ``trajectory`` what was executed: the observation as the tool gave
it and how long it took. Source: SWE-agent/SWE-agent, ``sweagent/types.py`` and ``agent/agents.py``. What varies:

- ``history`` alone (demonstrations), or ``trajectory`` alone; then the first step's ``query`` begins the conversation.
- Function calling (``tool_calls``, answers with role tool), or actions in the text, answered by the user.
- Steps that are not in the history: the last one, and those the agent took back after an error. They are turns too.
- ``attempts`` (a retrying agent): each is a session; what stands beside them repeats the best one.
- ``model_stats`` counts the tokens of the whole session. They are shared out among its model calls, marked as
  estimated, so that the session's totals are exactly the measured ones.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Any

from procurator.avro_schemas.codec import MONEY_SCALE, from_decimal
from procurator.producers.importers import estimates
from procurator.producers.importers.messages import Call, Execution, Message, NoMessage, to_text
from procurator.producers.importers.openai_chat import read_messages
from procurator.producers.importers.recording import ImportOptions, Recording

NAME = "swe-agent"
_UNIT = Decimal(1).scaleb(-MONEY_SCALE)


def matches(value: object) -> bool:
    """Return whether a document is of this format."""
    return isinstance(value, Mapping) and any(
        isinstance(value.get(k), list) for k in ("trajectory", "history", "attempts")
    )


def recordings(value: Any, options: ImportOptions, started_us: int) -> Iterator[Recording]:
    """Yield the sessions in a document. Raises NoMessage saying what is wrong with it."""
    if not matches(value):
        raise NoMessage("not a swe-agent trajectory: it has no list called trajectory or history")
    attempts = value.get("attempts")
    if isinstance(attempts, list) and attempts:
        for number, attempt in enumerate(attempts):
            if not isinstance(attempt, Mapping):
                raise NoMessage(f"attempt {number} is not an object")
            yield _recording({**value, "info": {}, **attempt, "attempts": None}, options, started_us, str(number))
    else:
        yield _recording(value, options, started_us, None)


def _recording(value: Mapping[str, Any], options: ImportOptions, started_us: int, attempt: str | None) -> Recording:
    info = value["info"] if isinstance(value.get("info"), Mapping) else {}
    labels = {"environment": value.get("environment"), "exit_status": info.get("exit_status"), "attempt": attempt}
    recording = Recording(
        agent=options.agent or NAME,
        started_us=started_us,
        identity=value,
        model=options.model or _model(value.get("replay_config")) or "unknown",
        provider=options.provider,
        user=options.user,
        labels={name: to_text(said) for name, said in labels.items() if said is not None},
    )
    messages = _messages(_objects(value, "history"), _objects(value, "trajectory"))
    recording.converse(messages)
    _share_out(info.get("model_stats"), recording)
    _end(recording, info, messages)
    return recording


def _objects(value: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    items = value.get(name)
    if not isinstance(items, list):
        return []
    for index, item in enumerate(items):
        if not isinstance(item, Mapping):
            raise NoMessage(f"{name} {index} is not an object")
    return items


def _messages(history: Sequence[Mapping[str, Any]], steps: Sequence[Mapping[str, Any]]) -> list[Message]:
    """Return the conversation with what its steps add: executions, and the steps that are not in the history."""
    if not history and steps:
        asked = steps[0].get("query")
        history = asked if isinstance(asked, list) and asked and all(asked) else []
    read = read_messages(history)
    spoken = [i for i, message in enumerate(read) if message.role == "ASSISTANT" and not message.is_demonstration]
    step_of = _align([(read[i].text, to_text(history[i].get("action"))) for i in spoken], steps)
    executed = dict(zip(spoken, step_of, strict=True))
    messages: list[Message] = []
    next_step = 0
    for index, message in enumerate(read):
        at = executed.get(index)
        if at is not None:
            messages += [extra for step in steps[next_step:at] for extra in _from_step(step)]
            next_step = at + 1
        messages.append(_executed(message, history[index], None if at is None else steps[at]))
    return messages + [extra for step in steps[next_step:] for extra in _from_step(step)]


def _align(spoken: Sequence[tuple[str, str]], steps: Sequence[Mapping[str, Any]]) -> list[int | None]:
    """Return for each assistant message, given as (text, action), the index of its step; indices ascend."""
    said = [(to_text(step.get("response")), to_text(step.get("action")).strip()) for step in steps]
    if len(spoken) == len(steps):
        return list(range(len(steps)))
    found: list[int | None] = []
    after = 0
    for text, action in spoken:
        same = (i for i in range(after, len(said)) if said[i] == (text, action.strip()))
        like = (i for i in range(after, len(said)) if text == said[i][0] or (action and action.strip() == said[i][1]))
        at = next(same, None)
        at = next(like, None) if at is None else at
        found.append(at)
        after = after if at is None else at + 1
    return found


def _executed(message: Message, source: Mapping[str, Any], step: Mapping[str, Any] | None) -> Message:
    """Return the message with its call and what came of it, where it is an assistant's."""
    if message.role != "ASSISTANT" or message.is_demonstration:
        return message
    action = to_text(source.get("action")) or (to_text(step.get("action")) if step else "")
    if not message.calls and action.strip():
        message = replace(message, calls=(_action_call(action),))
    if step is None or "observation" not in step or len(message.calls) != 1:
        return message
    return message.with_execution(Execution(to_text(step["observation"]), _latency_ms(step)))


def _from_step(step: Mapping[str, Any]) -> Iterator[Message]:
    """Yield the turns of a step that the history does not have."""
    action = to_text(step.get("action"))
    said = Message(
        "ASSISTANT",
        to_text(step.get("response")),
        thinking=to_text(step.get("thought")) or None,
        calls=(_action_call(action),) if action.strip() else (),
    )
    if "observation" not in step:
        yield said
        return
    observed = to_text(step["observation"])
    yield said.with_execution(Execution(observed, _latency_ms(step)))
    yield Message("TOOL", observed, name=said.calls[0].name if said.calls else None)


def _action_call(action: str) -> Call:
    """Return the call that an action in text is: its first word is the command."""
    return Call(None, action.split(maxsplit=1)[0], json.dumps({"action": action}, ensure_ascii=False))


def _latency_ms(step: Mapping[str, Any]) -> float | None:
    seconds = step.get("execution_time")
    measured = isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 <= seconds < 1e9
    return float(seconds) * 1000 if measured and seconds is not None else None


def _model(replay_config: object) -> str | None:
    """Return the model that a run was configured with; ``replay_config`` is JSON text, or the object itself."""
    if isinstance(replay_config, str):
        try:
            replay_config = json.loads(replay_config)
        except (ValueError, RecursionError):
            return None
    for name in ("agent", "model", "name"):
        replay_config = replay_config.get(name) if isinstance(replay_config, Mapping) else None
    return replay_config if isinstance(replay_config, str) and replay_config else None


def _share_out(stats: object, recording: Recording) -> None:
    """Replace the estimates of tokens by shares of what was measured, and the reported cost likewise."""
    if not isinstance(stats, Mapping):
        return
    calls = recording.model_calls()
    for name, total in (("input_tokens", stats.get("tokens_sent")), ("output_tokens", stats.get("tokens_received"))):
        if isinstance(total, int) and not isinstance(total, bool) and 0 <= total <= 2**53:
            guessed = [call for call in calls if name in call.estimated]
            left = max(0, total - sum(call.payload[name] for call in calls if name not in call.estimated))
            shares = estimates.share(left, [call.payload[name] for call in guessed])
            for call, tokens in zip(guessed, shares, strict=True):
                call.payload[name] = tokens
                if tokens == left:  # The only call's, or none were used at all: measured.
                    call.estimated.remove(name)
    cost = _units(stats.get("instance_cost"))
    if cost is not None:
        weights = [call.payload["input_tokens"] + 4 * call.payload["output_tokens"] for call in calls]
        for call, units in zip(calls, estimates.share(cost, weights), strict=True):
            call.payload["reported_cost_usd"] = from_decimal(units * _UNIT)
            if units != cost:
                call.estimated.append("reported_cost_usd")


def _units(cost: object) -> int | None:
    """Return an amount of USD in units of 10^-18."""
    if not isinstance(cost, int | float) or isinstance(cost, bool) or not 0 <= cost < 1e12:
        return None
    try:
        return int(Decimal(str(cost)) / _UNIT)
    except InvalidOperation:
        return None


def _end(recording: Recording, info: Mapping[str, Any], messages: Sequence[Message]) -> None:
    status = to_text(info.get("exit_status"))
    submission = to_text(info.get("submission"))
    shown = any(
        submission.strip() in text
        for message in messages
        for text in (
            message.text,
            message.execution.output if message.execution else "",
            *(c.arguments for c in message.calls),
        )
    )
    reason = "\n".join(part for part in (status, "" if shown else submission) if part) or None
    if not status or status.startswith("submitted"):
        recording.end("COMPLETED", reason=reason, is_guess=not status)
    elif "timeout" in status:
        recording.end("TIMEOUT", reason=reason)
    else:
        recording.end("FAILED", reason=reason, error={"type": status, "message": status, "stack": None})
