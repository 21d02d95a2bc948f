"""A session as its runtime sees it: a block that records what happens in it, from any thread or task."""

import os
import threading
import time
import weakref
from collections.abc import Callable
from contextvars import Token
from dataclasses import dataclass
from typing import Any, Literal, ParamSpec, Protocol, TypeVar, get_args, overload

from procurator.errors import Backpressure, UserError
from procurator.events import (
    GAP,
    HEARTBEAT,
    SESSION_ENDED,
    SESSION_STARTED,
    TURN_RECORDED,
)
from procurator.producers import context
from procurator.producers.calls import ModelCall, ToolCall
from procurator.producers.controlled import Controlled, OnSignal
from procurator.producers.entropy import random_16
from procurator.producers.errors import Dropped, SessionTerminated, TerminalStatus, TerminateSignal
from procurator.producers.failure import describe
from procurator.producers.gap import Gap
from procurator.producers.json_text import to_json
from procurator.producers.streamed_turn import Channel, StreamedTurn
from procurator.producers.tasks import Tasks, is_stop
from procurator.producers.tools import Recorder

#: What chat formats call the roles, in upper case, and what the ledger calls them.
ROLES = {
    "USER": "USER",
    "ASSISTANT": "ASSISTANT",
    "TOOL": "TOOL",
    "FUNCTION": "TOOL",
    "SYSTEM": "SYSTEM",
    "DEVELOPER": "SYSTEM",
}
_TERMINAL = get_args(TerminalStatus)
P = ParamSpec("P")
R = TypeVar("R")
_started: "weakref.WeakSet[Session]" = weakref.WeakSet()


class Emit(Protocol):
    """Sends one event of one session; raises Backpressure, or Dropped, when it was not taken."""

    def __call__(
        self, sequence: int, occurred_at: int, kind: str, payload: dict[str, Any], estimated: list[str]
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a session asks of its `Procurator`. ``lost``: there is a gap to tell; ``confirm`` waits for safety."""

    emit: Emit
    opened: Callable[["Session"], None]
    closed: Callable[["Session"], None]
    lost: Callable[["Session"], None]
    confirm: Callable[[], None]
    #: Shows turns while they are written; None where they are not shown.
    deltas: Channel | None = None


class Session(Controlled):
    """One agent run; `Procurator.session` makes it. Threads and tasks may share it.

    Leaving the block ends the session: COMPLETED, or FAILED with the exception's type, message and stack; TERMINATED
    with SessionTerminated; TIMEOUT with a TimeoutError once ``timeout_s`` has passed. Exceptions are never swallowed.
    A session that a signal terminated ends as the signal says, and its block is left with SessionTerminated. Events
    after the end are recorded all the same (the ledger flags them), since losing them would be worse.
    """

    def __init__(
        self,
        session_id: str,
        started: dict[str, Any],
        hooks: Hooks,
        clock: Callable[[], int],
        on_signal: OnSignal | None = None,
        durable: bool = False,
    ) -> None:
        """Prepare a session that is yet to start. ``started`` is the payload of its first event."""
        super().__init__(session_id, started["parent_session_id"], on_signal)
        self._started = started
        self._hooks = hooks
        self._send = hooks.emit
        self._clock = clock
        self._durable = durable
        self._gap = Gap()
        self._is_ours = True
        self._outer: Token[Session | None] | None = None
        self._lock = threading.Lock()
        self._sequence = 0
        self._turns = 0
        self._assistant_turn: int | None = None
        self._written_turn: int | None = None
        self._loose_model_calls: list[str] = []
        self._state: Literal["new", "open", "ended"] = "new"
        self._began = self._spoke = time.monotonic()

    @property
    def events(self) -> int:
        """Number of events handed over for delivery so far."""
        return self._sequence

    def start(self) -> "Session":
        """Start the session without a block; then `end` is yours to call. Raises UserError when it has started."""
        self._begin()
        return self

    def turn(
        self,
        role: str,
        content: object,
        *,
        thinking: str | None = None,
        tool_call_id: str | None = None,
        model_call_id: str | None = None,
    ) -> int:
        """Record a whole turn and return its ``turn_index``.

        ``role`` is user, assistant, tool or system (developer and function are taken too, in any case). ``content``
        that is no text is recorded as JSON. An assistant's turn belongs to the model call that completed since the
        previous one, if it was a single one; else say so with ``model_call_id``. Raises UserError for another role,
        SessionTerminated, without recording the turn, once the session was terminated.
        """
        self.check()
        speaker = _speaker(role)
        text = content if isinstance(content, str) else "" if content is None else to_json(content)
        more = {"thinking": thinking, "tool_call_id": tool_call_id, "model_call_id": model_call_id}
        with self._lock:
            index = self._turns
            self._record_turn(index, speaker, text, more)
            self._turns += 1
        self._confirm()
        return index

    def turn_stream(
        self, role: str = "assistant", *, tool_call_id: str | None = None, model_call_id: str | None = None
    ) -> StreamedTurn:
        """Return a block around a turn that is written piece by piece (`StreamedTurn.delta`), shown live meanwhile.

        Leaving it records the turn whole, as `turn` does. Raises UserError for an unknown role.
        """
        more = {"tool_call_id": tool_call_id, "model_call_id": model_call_id}
        return StreamedTurn(self, _speaker(role), self._hooks.deltas, **more)

    def reserve_turn(self, speaker: str) -> int:
        """Return the index of a turn that is written from now on; `record_turn` records it."""
        with self._lock:
            index, self._turns = self._turns, self._turns + 1
            if speaker == "ASSISTANT":
                self._assistant_turn = self._written_turn = index
        return index

    def record_turn(self, index: int, speaker: str, content: str, **more: Any) -> None:
        """Record a reserved turn, also when the session was terminated meanwhile: it was shown."""
        with self._lock:
            if self._written_turn == index:
                self._written_turn = None
            self._record_turn(index, speaker, content, more)
        self._confirm()

    def _record_turn(self, index: int, speaker: str, content: str, more: dict[str, Any]) -> None:
        if speaker == "ASSISTANT":
            if more["model_call_id"] is None and len(self._loose_model_calls) == 1:
                more["model_call_id"] = self._loose_model_calls[0]
            self._loose_model_calls.clear()
            self._assistant_turn = index
        self._emit(TURN_RECORDED, {"turn_index": index, "role": speaker, "content": content, **more})

    def tool_call(
        self,
        tool_name: str,
        input: object = None,
        *,
        tool_call_id: str | None = None,
        mcp_server_id: str | None = None,
        turn_index: int | None = None,
        timeout_ms: float | None = None,
    ) -> ToolCall:
        """Return a block around one tool call; entering it records that the call was sent.

        ``input`` is any object (JsonText for what is JSON already), ``timeout_ms`` the configured timeout. The call
        belongs to the latest assistant turn unless ``turn_index`` says otherwise. Leaving the block with an exception
        makes it ERROR with the message, TIMEOUT with a TimeoutError, CANCELLED when it was cancelled. Entering it waits
        while the session is paused (`with` blocks, `async with` does not), and raises SessionTerminated.
        """
        return ToolCall(
            self,
            tool_name,
            input,
            call_id=tool_call_id or f"tool-{random_16().hex()}",
            mcp_server_id=mcp_server_id,
            turn_index=self._assistant_turn if turn_index is None else turn_index,
            timeout_ms=timeout_ms,
        )

    def model_call(
        self,
        provider: str,
        model: str,
        *,
        model_call_id: str | None = None,
        turn_index: int | None = None,
        input_tokens_estimate: int | None = None,
        max_output_tokens: int | None = None,
        parameters: object = None,
    ) -> ModelCall:
        """Return a block around one model call; entering it records that the call was sent.

        It belongs to the turn that is being streamed, or comes next, unless ``turn_index`` says otherwise.
        ``parameters`` are those of the request, without messages. Say what was used with `ModelCall.complete`; without,
        zero tokens stand as estimated.
        """
        return ModelCall(
            self,
            provider,
            model,
            call_id=model_call_id or f"model-{random_16().hex()}",
            turn_index=self._next_turn if turn_index is None else turn_index,
            input_tokens_estimate=input_tokens_estimate,
            max_output_tokens=max_output_tokens,
            parameters=parameters,
        )

    @property
    def _next_turn(self) -> int:
        return self._turns if self._written_turn is None else self._written_turn

    @overload
    def tool(self, function: Callable[P, R], /) -> Callable[P, R]: ...

    @overload
    def tool(
        self, /, *, name: str | None = None, mcp_server_id: str | None = None, timeout_ms: float | None = None
    ) -> Recorder: ...

    def tool(self, function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """Record each call of a function, or coroutine function, as a tool call: ``@session.tool``.

        Its arguments are the input, what it returns the output; else as `tool_call`. For functions that are there
        before any session is, see `tools.tool`.
        """
        recorder = Recorder(lambda: self, **options)
        return recorder if function is None else recorder(function)

    def end(
        self,
        status: TerminalStatus = "COMPLETED",
        *,
        error: BaseException | None = None,
        ended_by: str = "runtime",
        reason: str | None = None,
        signal_id: str | None = None,
    ) -> None:
        """End the session now; leaving the block then records nothing more. A second end changes nothing.

        A session that a signal terminated ends as the signal says, whatever ``status`` is.
        """
        if status not in _TERMINAL:
            raise UserError(f"status: {status!r} is none of {', '.join(_TERMINAL)}")
        with self._lock:
            if self._state == "ended":
                return
            told = self.orders.close()
            if told is not None:
                status, ended_by, reason, signal_id = told.status, told.issued_by, told.reason, told.signal_id
            self._emit(
                SESSION_ENDED,
                {
                    "status": status,
                    "error": None if error is None else describe(error),
                    "ended_by": ended_by,
                    "reason": reason,
                    "signal_id": signal_id,
                    "inferred": False,
                },
            )
            self._state = "ended"
        self._confirm()
        self._hooks.closed(self)

    def emit(self, kind: str, payload: dict[str, Any], estimated: list[str] | None = None) -> None:
        """Send one event of any kind (`procurator.events`). Raises Backpressure when it was not taken.

        Raises SessionTerminated, without sending it, once the session was terminated.
        """
        self.check()
        self.record(kind, payload, estimated)

    def record(self, kind: str, payload: dict[str, Any], estimated: list[str] | None = None) -> None:
        """Send one event that belongs into the ledger even when the session was terminated: how its calls ended."""
        with self._lock:
            self._emit(kind, payload, estimated)
        self._confirm()

    def lost(self, sequence: int, reason: str) -> None:
        """An event of this session will never arrive: the ledger is told with the next one. From any thread."""
        self._gap.add(sequence, reason)
        self._hooks.lost(self)

    def tell_gap(self) -> bool:
        """Tell the ledger what was lost, if no thread is just about to; return whether it knows."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            self._tell_gap()
        except Backpressure:
            pass  # Later, when there is room.
        finally:
            self._lock.release()
        return not self._gap.pending

    def heartbeat(self, idle_s_min: float) -> None:
        """Say that the session lives, if it has been silent for ``idle_s_min`` and no thread is just about to speak."""
        if self._state != "open" or self.orders.terminated is not None or not self._lock.acquire(blocking=False):
            return
        try:
            idle_s = time.monotonic() - self._spoke
            if idle_s >= idle_s_min:
                self._emit(HEARTBEAT, {"idle_ms": int(idle_s * 1000)})
        except Backpressure:
            pass  # The queue is full of what says that we live.
        finally:
            self._lock.release()

    def model_call_completed(self, model_call_id: str) -> None:
        """Note a call that the next assistant turn may belong to."""
        self._loose_model_calls.append(model_call_id)

    def _emit(self, kind: str, payload: dict[str, Any], estimated: list[str] | None = None) -> None:
        """Send an event with the lock held: its number is taken only once it has been accepted, so none is missing."""
        if self._state == "new" and kind != SESSION_STARTED:
            raise UserError("the session has not started: use it as `with procurator.session(…) as session:`")
        if self._gap.pending:
            self._tell_gap()
        try:
            self._send(self._sequence, self._clock(), kind, payload, estimated or [])
        except Dropped as why:
            self.lost(self._sequence, str(why))
        except (Backpressure, UserError):
            raise
        except BaseException:  # Of a signal's handler: it may have been accepted, and no two must share a number.
            self._sequence += 1
            raise
        self._sequence += 1
        self._spoke = time.monotonic()

    def _tell_gap(self) -> None:
        gap = self._gap.take()
        if gap is None:
            return
        try:
            self._send(self._sequence, self._clock(), GAP, dict(gap), [])
            self._sequence += 1
        except Backpressure as error:
            self._gap.put_back(gap)
            if not isinstance(error, Dropped):
                raise

    def _confirm(self) -> None:
        if self._durable:
            self._hooks.confirm()

    def _forked(self) -> None:
        """Go on in a forked child as another emitter; the session is the parent's, who ends it."""
        self._lock = threading.Lock()
        self._gap = Gap()
        self._sequence = 0
        self._is_ours = False
        self.orders.forked()
        self.tasks = Tasks()

    def _begin(self) -> None:
        with self._lock:
            if self._state != "new":
                raise UserError(f"session {self.session_id} has been started before; make another one")
            self._emit(SESSION_STARTED, self._started)
            self._state = "open"
            self._began = time.monotonic()
        _started.add(self)
        self._confirm()
        self._hooks.opened(self)

    def _enter(self) -> None:
        self._begin()
        self._outer = context.enter(self)
        self.has_block = True
        self._guard = self.tasks.enter()

    def _leave(self, error: BaseException | None) -> None:
        if self._outer is not None:
            context.leave(self._outer)
        if not self._is_ours:
            return
        if self.orders.terminated is not None:
            self.end("TERMINATED", error=None if error is None or is_stop(error) else error)
        elif isinstance(error, SessionTerminated) and error.session_id in (None, self.session_id):
            self._end_by(error.signal)
        elif error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
            self.end("COMPLETED")
        else:
            timeout_s = self._started["timeout_s"]
            expired = timeout_s is not None and time.monotonic() - self._began >= timeout_s
            self.end("TIMEOUT" if expired and isinstance(error, TimeoutError) else "FAILED", error=error)

    def _end_by(self, told: TerminateSignal) -> None:
        self.end(told.status, ended_by=told.issued_by, reason=told.reason, signal_id=told.signal_id)


def _speaker(role: str) -> str:
    speaker = ROLES.get(role.upper())
    if speaker is None:
        raise UserError(f"role: {role!r} is none of user, assistant, tool, system")
    return speaker


def _after_fork() -> None:
    for session in list(_started):
        session._forked()


os.register_at_fork(after_in_child=_after_fork)
