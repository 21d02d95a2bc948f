"""What one session was told: to stop, to wait, to go on. Threads share it; it does no IO and emits nothing.

A signal counts once, by its id. A pause lasts until its own approval is decided, so two pauses need two decisions;
a RESUME without an approval ends the pauses that named none. After a TERMINATE, or once the session is over, nothing
changes any more.
"""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

from procurator.events import APPROVAL_DECIDED, APPROVAL_REQUESTED
from procurator.producers.errors import TerminalStatus, TerminateSignal

Decision = Literal["APPROVED", "DENIED", "EXPIRED"]
Kind = Literal["TERMINATE", "PAUSE", "RESUME"]
DECISIONS: tuple[str, ...] = get_args(Decision)

#: Signals and decisions that a session remembers; far beyond what one session is ever told.
REMEMBERED_MAX = 1_000
#: Who said in the ledger what these causes led to: the stream processor that a budget waits, whoever decided that.
_BY_BUDGET, _BY_APPROVAL = "BUDGET", "APPROVAL"
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Signal:
    """A command to a session: signal.avsc without what a runtime has no use for."""

    signal_id: str
    kind: Kind
    cause: str
    requested_by: str
    reason: str
    budget_id: str | None = None
    approval_id: str | None = None
    decision: Decision | None = None
    terminal_status: TerminalStatus | None = None

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Signal":
        """Return the signal in a raw record of signal.avsc."""
        return cls(**{name: record[name] for name in cls.__slots__})

    @property
    def pause_id(self) -> str:
        """The approval that a PAUSE waits for; one that names none has its own."""
        return self.approval_id or f"pause:{self.signal_id}"


@dataclass(frozen=True, slots=True)
class ApprovalDecision:
    """What was decided on an approval, by whom, and why."""

    decision: Decision
    decided_by: str
    reason: str | None = None


class Orders:
    """`free` is all that a call looks at when nothing was said: False while it has to wait, or must not be made."""

    def __init__(self) -> None:
        self.free = True
        self.terminated: TerminateSignal | None = None
        self.cancelled = threading.Event()
        #: Grows with every change, so that a change between a look and a wait is not missed.
        self.version = 0
        self._changed = threading.Condition()
        self._wakers: list[Callable[[], None]] = []
        self._over = False
        self._held_until_s: float | None = None
        self._seen: dict[str, None] = {}
        self._pauses: dict[str, Signal] = {}
        self._decisions: dict[str, ApprovalDecision] = {}
        #: Pauses that this session has put into the ledger, and whose decision it has yet to put there.
        self._said: set[str] = set()
        self._to_say: list[tuple[str, dict[str, Any]]] = []

    def obey(self, signal: Signal) -> bool:
        """Take a signal; return whether it changes anything."""
        with self._changed:
            if self._over or self.terminated is not None or signal.signal_id in self._seen:
                return False
            _keep(self._seen, signal.signal_id, None)
            match signal.kind:
                case "TERMINATE":
                    status = signal.terminal_status or "TERMINATED"
                    self.terminated = TerminateSignal(signal.requested_by, signal.reason, signal.signal_id, status)
                    self.cancelled.set()
                case "PAUSE":
                    if signal.pause_id in self._decisions:
                        return False
                    self._pauses[signal.pause_id] = signal
                case "RESUME":
                    self._resume(signal)
            self._change()
            return True

    def forked(self) -> None:
        """Go on in a forked child: a thread of the parent may have held the lock."""
        self._changed = threading.Condition()
        self._wakers = []

    def close(self) -> TerminateSignal | None:
        """The session is about to end: return what it was terminated by, if anything; later signals change nothing."""
        with self._changed:
            self._over = True
            return self.terminated

    def hold(self, until_s: float) -> None:
        """Let calls wait for `caught_up`, at most until ``until_s`` of the monotonic clock."""
        with self._changed:
            self._held_until_s = until_s
            self._change()

    def caught_up(self) -> None:
        """What was signalled before the session started has been told."""
        with self._changed:
            self._held_until_s = None
            self._change()

    def may_go(self) -> bool:
        """Tell whether a call may be made now."""
        with self._changed:
            if self._held_until_s is not None and time.monotonic() >= self._held_until_s:
                self._held_until_s = None
                self._change()
            return self.free

    def to_say(self) -> list[tuple[str, dict[str, Any]]]:
        """Return, once, the events that a waiting session adds to the ledger because nobody else does."""
        with self._changed:
            for pause_id, signal in self._pauses.items():
                if signal.cause != _BY_BUDGET and pause_id not in self._said:
                    self._said.add(pause_id)
                    self._to_say.append((APPROVAL_REQUESTED, _request(pause_id, signal)))
            events, self._to_say = self._to_say, []
            self._judge()
            return events

    def decide(self, approval_id: str, decided: ApprovalDecision) -> None:
        """Note a decision, however it came here."""
        with self._changed:
            _keep(self._decisions, approval_id, decided)
            self._change()

    def decision(self, approval_id: str) -> ApprovalDecision | None:
        """Return what was decided, None while nothing was."""
        return self._decisions.get(approval_id)

    def wait(self, version: int, until_s: float | None = None) -> None:
        """Block until there is another `version`, or ``until_s`` of the monotonic clock, or a hold lapses."""
        with self._changed:
            while self.version == version:
                left_s = self._left_s(until_s)
                if left_s is not None and left_s <= 0:
                    return
                self._changed.wait(left_s)

    async def wait_async(self, version: int, until_s: float | None = None) -> None:
        """Do as `wait`, without blocking the event loop."""
        import asyncio

        loop, woken = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # The loop is closed: nobody waits.
                loop.call_soon_threadsafe(woken.set)

        with self._changed:
            if self.version != version:
                return
            self._wakers.append(wake)
            left_s = self._left_s(until_s)
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(woken.wait(), left_s)
        finally:
            with self._changed:
                self._wakers.remove(wake)

    def _resume(self, signal: Signal) -> None:
        named = signal.approval_id
        decided = ApprovalDecision(signal.decision or "APPROVED", signal.requested_by, signal.reason)
        for approval_id in [named] if named else [p for p, pause in self._pauses.items() if pause.approval_id is None]:
            self._pauses.pop(approval_id, None)
            _keep(self._decisions, approval_id, decided)
            if approval_id in self._said:
                self._said.discard(approval_id)
                if signal.cause != _BY_APPROVAL:
                    self._to_say.append((APPROVAL_DECIDED, decision_payload(approval_id, decided)))

    def _left_s(self, until_s: float | None) -> float | None:
        ends = [end for end in (until_s, self._held_until_s) if end is not None]
        return min(ends) - time.monotonic() if ends else None

    def _judge(self) -> None:
        self.free = self.terminated is None and not self._pauses and self._held_until_s is None and not self._to_say

    def _change(self) -> None:
        self._judge()
        self.version += 1
        self._changed.notify_all()
        for wake in self._wakers:
            wake()


def decision_payload(approval_id: str, decided: ApprovalDecision) -> dict[str, Any]:
    """Return the payload of the event that records a decision."""
    return {
        "approval_id": approval_id,
        "decision": decided.decision,
        "decided_by": decided.decided_by,
        "reason": decided.reason,
    }


def _request(pause_id: str, signal: Signal) -> dict[str, Any]:
    return {
        "approval_id": pause_id,
        "reason": signal.reason,
        "tool_call_id": None,
        "budget_id": signal.budget_id,
        "expires_at": None,
    }


def _keep(kept: dict[str, V], key: str, value: V) -> None:
    kept[key] = value
    if len(kept) > REMEMBERED_MAX:
        del kept[next(iter(kept))]
