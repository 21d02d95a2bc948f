"""Plays plans through the SDK, as an agent's own code would: nested blocks, exceptions, several sessions at once."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from procurator.producers.client import Procurator
from procurator.producers.errors import SessionTerminated, TerminateSignal
from procurator.producers.session import Session
from procurator.producers.simulator.plan import Answer, Approve, Delegate, Ending, Say, SessionPlan, Step, Use

#: What a model says at once: a word or two.
_PIECE = re.compile(r"\S+\s*\S*\s*|\s+")
US_PER_S = 1_000_000
US_PER_MS = 1000


class Pace(Protocol):
    """The time that sessions live in. ``controlled``: they obey signals, which those of the past cannot."""

    controlled: bool

    def now_us(self) -> int:
        """Return µs since the epoch."""

    def wait(self, seconds: float) -> Awaitable[None]:
        """Let ``seconds`` of the session's time pass."""


class AtOnce:
    """Time that passes without waiting, each session's its own; it starts at ``now_us``."""

    controlled = False

    def __init__(self, now_us: int) -> None:
        self._now_us = now_us

    def now_us(self) -> int:
        return self._now_us

    async def wait(self, seconds: float) -> None:
        self._now_us += round(seconds * US_PER_S)


class RealTime:
    """The machine's time, ``speed`` times as fast."""

    controlled = True

    def __init__(self, now_us: Callable[[], int], speed: float) -> None:
        self.now_us = now_us
        self._speed = speed

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._speed)


@dataclass(slots=True)
class Played:
    """What was published of one session, for comparison with what the ledger shows. Tokens by bucket are summed up."""

    session_id: str
    org_id: str
    status: str
    events: int = 0
    turns: int = 0
    tool_calls: int = 0
    model_calls: int = 0
    tokens: int = 0


class _Refused(Exception):
    """What a simulated tool or provider raises; the SDK records its text."""


async def play(
    procurator: Procurator, plan: SessionPlan, pace: Pace, played: list[Played], parent: Session | None = None
) -> None:
    """Play one session, and those that it starts; append what was published to ``played``.

    Cancelled it ends them TERMINATED, and raises CancelledError.
    """
    started_by: dict[str, Any] = {"parent_session_id": parent.session_id} if parent else {}
    session = procurator.session(**plan.who, **started_by, control=pace.controlled, clock=pace.now_us)
    record = Played(session.session_id, plan.who["org_id"], plan.ending.status or "RUNNING")
    played.append(record)
    stage = _Stage(procurator, session, pace, played, record)
    try:
        if plan.ending.status is None:
            session.start()  # Without a block it stays open, as a session does that is still at work.
            await stage.steps(plan.steps)
        else:
            async with session:
                try:
                    await stage.steps(plan.steps)
                except asyncio.CancelledError:
                    record.status = "TERMINATED"
                    raise SessionTerminated(TerminateSignal("simulator", "the simulation was stopped")) from None
                stage.finish(plan.ending)
    except SessionTerminated as terminated:
        record.status = terminated.signal.status  # By the plan, or by a signal; the SDK has recorded it.
    except plan.ending.error:
        pass  # The plan's own ending, recorded too.
    finally:
        record.events = session.events
    if (task := asyncio.current_task()) is not None and task.cancelling():
        raise asyncio.CancelledError  # Or the session that started this one would go on.


@dataclass(frozen=True, slots=True)
class _Stage:
    """One session being played."""

    procurator: Procurator
    session: Session
    pace: Pace
    played: list[Played]
    record: Played

    async def steps(self, steps: Iterable[Step]) -> None:
        for step in steps:
            match step:
                case Say():
                    await self.pace.wait(step.after_s)
                    self._turn(step.role, step.content)
                case Answer():
                    await self._answer(step)
                case Use():
                    await self._use(step)
                case Approve():
                    await self._approve(step)
                case Delegate():
                    await self._delegate(step)

    def finish(self, ending: Ending) -> None:
        """End the session as planned, within its block; COMPLETED comes of itself."""
        match ending.status:
            case "TERMINATED":
                raise SessionTerminated(TerminateSignal(ending.by, ending.reason))
            case "TIMEOUT":
                self.session.end("TIMEOUT", error=ending.error(ending.reason), reason=ending.reason)
            case "FAILED":
                raise ending.error(ending.reason)

    def _turn(self, role: str, content: object, **more: Any) -> None:
        self.session.turn(role, content, **more)
        self.record.turns += 1

    async def _answer(self, step: Answer) -> None:
        with suppress(_Refused):
            async with self.session.model_call(step.model.provider, step.model.name, max_output_tokens=4096) as call:
                self.record.model_calls += 1
                is_streamed = self.pace.controlled and step.error is None
                await self.pace.wait((step.first_token_ms if is_streamed else step.latency_ms) / 1000)
                if step.error is not None:
                    raise _Refused(step.error)
                if is_streamed:
                    await self._stream(step, call.id)
                call.complete(
                    **step.usage,
                    latency_ms=step.latency_ms,
                    first_token_ms=step.first_token_ms,
                    finish_reason="stop" if step.content else "tool_calls",
                )
                self.record.tokens += sum(step.usage.values())
        if step.error is None and not is_streamed:
            self._turn("assistant", step.content, thinking=step.thinking)

    async def _stream(self, step: Answer, model_call_id: str) -> None:
        """Write the turn piece by piece, as long as the model takes after its first token."""
        self.record.turns += 1
        async with self.session.turn_stream("assistant", model_call_id=model_call_id) as turn:
            parts = [(turn.thinking_delta, step.thinking or ""), (turn.delta, step.content)]
            pieces = [(write, piece) for write, text in parts for piece in _PIECE.findall(text)]
            for write, piece in pieces:
                await self.pace.wait((step.latency_ms - step.first_token_ms) / 1000 / len(pieces))
                write(piece)

    async def _use(self, step: Use) -> None:
        async with self.session.tool_call(
            step.tool, step.input, mcp_server_id=step.server, timeout_ms=step.timeout_ms
        ) as call:
            self.record.tool_calls += 1
            await self.pace.wait(step.latency_ms / 1000)
            call.complete(step.output, status=step.status, error_message=step.error, latency_ms=step.latency_ms)
        told = step.output if step.status == "SUCCESS" else f"{step.status}: {step.error}"
        self._turn("tool", told, tool_call_id=call.id)

    async def _approve(self, step: Approve) -> None:
        approval_id = self.session.request_approval(step.reason)
        if step.decision is None:
            self.record.status = "PENDING_APPROVAL"
            return
        await self.pace.wait(step.waits_s)
        self.session.approval_decided(approval_id, step.decision, decided_by=step.decided_by)

    async def _delegate(self, step: Delegate) -> None:
        began_us = self.pace.now_us()
        agent = step.plan.who["agent"]
        async with self.session.tool_call("delegate", {"agent": agent}, mcp_server_id="a2a") as call:
            self.record.tool_calls += 1
            await play(self.procurator, step.plan, self.pace, self.played, self.session)
            call.complete({"agent": agent}, latency_ms=(self.pace.now_us() - began_us) / US_PER_MS)
        self._turn("tool", {"agent": agent, "done": True}, tool_call_id=call.id)
