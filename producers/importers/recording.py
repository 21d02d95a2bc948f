"""A recorded session as the events it would have emitted. Pure.

`converse` turns messages into events: a turn for each; for an assistant's message a model call before it and the tool
calls that it asks for after it; for a tool's message the end of the call that it answers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from procurator.events import (
    MODEL_CALL_COMPLETED,
    MODEL_CALL_STARTED,
    SESSION_ENDED,
    SESSION_STARTED,
    TOOL_CALL_COMPLETED,
    TOOL_CALL_STARTED,
    TURN_RECORDED,
)
from procurator.producers.importers import estimates
from procurator.producers.importers.messages import Call, Message

US_PER_MS = 1000


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What a recording does not say about itself; None leaves it to the format."""

    org_id: str = "default"
    owner_team_id: str = "default"
    agent: str | None = None
    user: str | None = None
    model: str | None = None
    provider: str | None = None


@dataclass(slots=True)
class RecordedEvent:
    """An event without its envelope."""

    kind: str
    payload: dict[str, Any]
    occurred_at: int
    estimated: list[str]


@dataclass(slots=True, eq=False)
class _OpenCall:
    call: Call
    call_id: str
    turn_index: int
    started_us: int
    completed: bool = False


@dataclass(slots=True)
class Recording:
    """One session: who, and its events so far. ``identity`` is what makes it the same session when imported again."""

    agent: str
    started_us: int
    identity: Any
    model: str = "unknown"
    provider: str | None = None
    user: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    #: In some formats a result that begins with this is the error that the tool raised.
    error_prefix: str | None = None
    events: list[RecordedEvent] = field(default_factory=list)
    _now_us: int = 0
    _turns: int = 0
    _context_characters: int = 0
    #: Calls that no message has answered yet, in order.
    _unanswered: list[_OpenCall] = field(default_factory=list)
    _open_ids: set[str] = field(default_factory=set)

    @property
    def estimated(self) -> list[str]:
        """Names of all fields of which some event's value is a guess."""
        return sorted({name for event in self.events for name in event.estimated})

    def model_calls(self) -> list[RecordedEvent]:
        """Return the completed model calls, in order."""
        return [event for event in self.events if event.kind == MODEL_CALL_COMPLETED]

    def converse(self, messages: Sequence[Message]) -> None:
        """Record the session's start and its messages."""
        first_us = next((message.at_us for message in messages if message.at_us is not None), None)
        self._now_us = self.started_us if first_us is None else first_us
        self._add(
            SESSION_STARTED,
            {
                "agent_name": self.agent,
                "user_id": self.user,
                "initiator": "USER" if any(message.role == "USER" for message in messages) else "SYSTEM",
                "origin": "API",
                "labels": self.labels,
            },
            first_us is None,
        )
        for message in messages:
            self._message(message)

    def end(
        self,
        status: str,
        *,
        reason: str | None = None,
        error: dict[str, str | None] | None = None,
        is_guess: bool = False,
    ) -> None:
        """Record the session's end; ``is_guess`` when the recording does not say how it ended."""
        payload = {"status": status, "error": error, "ended_by": "runtime", "reason": reason}
        self._add(SESSION_ENDED, payload, True, ["status"] if is_guess else [])

    def _message(self, message: Message) -> None:
        is_time_guessed = message.at_us is None
        before_us = self._now_us
        self._now_us = before_us + estimates.STEP_US if message.at_us is None else message.at_us
        model_call_id = None
        answered = self._answered(message) if message.role == "TOOL" else None
        if message.role == "ASSISTANT" and not message.is_demonstration:
            model_call_id = self._model_call(message, before_us)
        if answered is not None and not answered.completed:
            self._complete(answered, message.text, None)
        self._add(
            TURN_RECORDED,
            {
                "turn_index": self._turns,
                "role": message.role,
                "content": message.text,
                "thinking": message.thinking,
                "tool_call_id": answered.call_id if answered else None,
                "model_call_id": model_call_id,
            },
            is_time_guessed,
        )
        if not message.is_demonstration:
            started = [self._start(call) for call in message.calls]
            if message.execution is not None and len(started) == 1:
                latency_ms = message.execution.latency_ms
                self._now_us += int((latency_ms or 0) * US_PER_MS)
                self._complete(started[0], message.execution.output, latency_ms)
        self._turns += 1
        self._context_characters += _characters(message)

    def _model_call(self, message: Message, sent_us: int) -> str:
        model = message.model or self.model
        call_id = f"model-{self._turns}"
        names = {
            "model_call_id": call_id,
            "provider": self.provider or estimates.provider_of(model),
            "model": model,
            "turn_index": self._turns,
        }
        guesses = [] if self.provider or model == "unknown" else ["provider"]
        received_us, self._now_us = self._now_us, sent_us
        self._add(MODEL_CALL_STARTED, dict(names), True, guesses)
        self._now_us = received_us
        usage = message.usage
        if usage is None:
            usage = {
                "input_tokens": estimates.tokens(self._context_characters),
                "output_tokens": estimates.tokens(_characters(message)),
            }
            guesses = [*guesses, "input_tokens", "output_tokens"]
        latency_ms = max(0, received_us - sent_us) / US_PER_MS
        self._add(
            MODEL_CALL_COMPLETED,
            {**names, **usage, "latency_ms": latency_ms, "finish_reason": message.finish_reason},
            message.at_us is None,
            [*guesses, "latency_ms"],
        )
        return call_id

    def _start(self, call: Call) -> _OpenCall:
        wanted = call.source_id or f"call-{self._turns}"
        call_id, again = wanted, 1
        # Some recordings use an id again once its call has completed, which the ledger takes; never two at once.
        while call_id in self._open_ids:
            again += 1
            call_id = f"{wanted}#{again}"
        self._open_ids.add(call_id)
        started = _OpenCall(call, call_id, self._turns, self._now_us)
        self._unanswered.append(started)
        self._add(
            TOOL_CALL_STARTED,
            {
                "tool_call_id": call_id,
                "tool_name": call.name,
                "input": call.arguments,
                "turn_index": self._turns,
            },
            True,
        )
        return started

    def _answered(self, message: Message) -> _OpenCall | None:
        """Return the earliest unanswered call that this result may belong to: by id, else by name, else any."""
        waiting = self._unanswered
        if message.result_of is not None:
            waiting = [call for call in waiting if call.call.source_id == message.result_of]
        elif message.name is not None:
            waiting = [call for call in waiting if call.call.name == message.name] or waiting
        if waiting:
            found = waiting[0]
            self._unanswered.remove(found)
            return found
        if message.is_demonstration or (message.result_of is None and message.name is None):
            return None
        # A result whose call was not recorded: the call happened all the same.
        call = Call(message.result_of, message.name or "unknown", "")
        return _OpenCall(call, message.result_of or f"call-{self._turns}", self._turns, self._now_us)

    def _complete(self, open_call: _OpenCall, output: str, latency_ms: float | None) -> None:
        open_call.completed = True
        self._open_ids.discard(open_call.call_id)
        failed = self.error_prefix is not None and output.startswith(self.error_prefix)
        waited_ms = max(0, self._now_us - open_call.started_us) / US_PER_MS
        self._add(
            TOOL_CALL_COMPLETED,
            {
                "tool_call_id": open_call.call_id,
                "tool_name": open_call.call.name,
                "status": "ERROR" if failed else "SUCCESS",
                "output": output,
                "error_message": output if failed else None,
                "latency_ms": waited_ms if latency_ms is None else latency_ms,
                "turn_index": open_call.turn_index,
            },
            True,
            ["status", *(["latency_ms"] if latency_ms is None else [])],
        )

    def _add(self, kind: str, payload: dict[str, Any], is_time_guessed: bool, guesses: Iterable[str] = ()) -> None:
        estimated = [*(["occurred_at"] if is_time_guessed else []), *guesses]
        self.events.append(RecordedEvent(kind, payload, self._now_us, estimated))


def _characters(message: Message) -> int:
    calls = sum(len(call.name) + len(call.arguments) for call in message.calls)
    return len(message.text) + len(message.thinking or "") * (message.thinking != message.text) + calls
