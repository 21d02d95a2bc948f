"""What a session does about signals and approvals: it stops, waits and goes on as it is told."""

import logging
import time
from abc import abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Event
from typing import Any

from procurator.clock import to_us
from procurator.errors import UserError
from procurator.events import APPROVAL_DECIDED, APPROVAL_REQUESTED
from procurator.producers.entropy import random_16
from procurator.producers.errors import SessionTerminated
from procurator.producers.orders import DECISIONS, ApprovalDecision, Decision, Orders, Signal, decision_payload
from procurator.producers.scope import Scope
from procurator.producers.tasks import Guard, Tasks, is_stop

log = logging.getLogger(__name__)

OnSignal = Callable[[Signal], object]


class Controlled(Scope):
    """The half of a `Session` that obeys; the other half records.

    A TERMINATE makes every call of the session raise SessionTerminated, sets `cancelled`, and cancels the asyncio tasks
    that are inside the session's block or calls; where the block is left, the cancellation becomes SessionTerminated.
    A PAUSE lets the next model or tool call wait for the RESUME.
    """

    def __init__(self, session_id: str, parent_session_id: str | None, on_signal: OnSignal | None) -> None:
        self.session_id = session_id
        self.parent_session_id = parent_session_id
        self.orders = Orders()
        self.tasks = Tasks()
        self.has_block = False
        self._on_signal = on_signal
        self._guard: Guard | None = None
        self._expires_s: dict[str, float] = {}

    @abstractmethod
    def emit(self, kind: str, payload: dict[str, Any], estimated: list[str] | None = None) -> None:
        """Record an event of this session."""

    @property
    def cancelled(self) -> Event:
        """Is set once the session was terminated; a tool that blocks looks at it, or waits on it."""
        return self.orders.cancelled

    def check(self) -> None:
        """Raise SessionTerminated if the session was terminated: for loops that make no other call of the SDK."""
        if self.orders.terminated is not None:
            raise SessionTerminated(self.orders.terminated, self.session_id)

    def request_approval(
        self,
        reason: str,
        *,
        approval_id: str | None = None,
        tool_call_id: str | None = None,
        budget_id: str | None = None,
        expires_at: datetime | None = None,
    ) -> str:
        """Record that the session waits for a person's decision, and return the ``approval_id``.

        `wait_for_approval` waits for it. ``expires_at`` is aware; raises UserError when it is not.
        """
        if expires_at is not None and expires_at.tzinfo is None:
            raise UserError("expires_at: a datetime without a time zone")
        approval_id = approval_id or f"approval-{random_16().hex()}"
        self.emit(
            APPROVAL_REQUESTED,
            {
                "approval_id": approval_id,
                "reason": reason,
                "tool_call_id": tool_call_id,
                "budget_id": budget_id,
                "expires_at": None if expires_at is None else to_us(expires_at),
            },
        )
        if expires_at is not None:
            self._expires_s[approval_id] = time.monotonic() + (expires_at - datetime.now(UTC)).total_seconds()
        return approval_id

    def approval_decided(
        self, approval_id: str, decision: Decision, *, decided_by: str, reason: str | None = None
    ) -> None:
        """Record the decision on an approval request, and let go who waits for it.

        Only for decisions that were made in the runtime: one that was made with the API is in the ledger already.
        Raises UserError for a decision that is none.
        """
        if decision not in DECISIONS:
            raise UserError(f"decision: {decision!r} is none of {', '.join(DECISIONS)}")
        decided = ApprovalDecision(decision, decided_by, reason)
        self.emit(APPROVAL_DECIDED, decision_payload(approval_id, decided))
        self.orders.decide(approval_id, decided)

    def wait_for_approval(self, approval_id: str, timeout_s: float | None = None) -> ApprovalDecision:
        """Block until it is decided, and return the decision, whichever it is.

        When nobody has decided within ``timeout_s``, or by the request's ``expires_at``, that is recorded and returned
        as EXPIRED. Raises SessionTerminated when the session is terminated meanwhile.
        """
        until_s = self._until_s(approval_id, timeout_s)
        while True:
            version = self.orders.version
            if decided := self._decision(approval_id, until_s):
                return decided
            self.orders.wait(version, until_s)

    async def wait_for_approval_async(self, approval_id: str, timeout_s: float | None = None) -> ApprovalDecision:
        """Do as `wait_for_approval`, without blocking the event loop."""
        until_s = self._until_s(approval_id, timeout_s)
        while True:
            version = self.orders.version
            if decided := self._decision(approval_id, until_s):
                return decided
            await self.orders.wait_async(version, until_s)

    def wait_until_free(self) -> None:
        """Block while the session is paused or catches up with signals. Raises SessionTerminated."""
        while True:
            version = self.orders.version
            if self._may_go():
                return
            self.orders.wait(version)

    async def wait_until_free_async(self) -> None:
        """Do as `wait_until_free`, without blocking the event loop."""
        while True:
            version = self.orders.version
            if self._may_go():
                return
            await self.orders.wait_async(version)

    def tell(self, signal: Signal) -> bool:
        """Take a signal, without acting on it yet; return whether it changes anything."""
        return self.orders.obey(signal)

    def act(self, signal: Signal) -> None:
        """Act on a signal that was told: from any thread, quickly, and never raising."""
        if signal.kind == "TERMINATE":
            self.tasks.cancel(f"terminated by {signal.requested_by}: {signal.reason}")
        if self._on_signal is not None:
            try:
                self._on_signal(signal)
            # The agent's own code: it must not keep other sessions from being told.
            except Exception:
                log.exception("on_signal of session %s failed", self.session_id)

    def _instead(self, error: BaseException | None) -> BaseException | None:
        guard, self._guard = self._guard, None
        others_ask = self.tasks.leave(guard)
        told = self.orders.terminated
        if told is None or (isinstance(error, SessionTerminated) and error.session_id == self.session_id):
            return None
        stopped = error is None or (is_stop(error) and not others_ask)
        return SessionTerminated(told, self.session_id) if stopped else None

    def _may_go(self) -> bool:
        self.check()
        for kind, payload in self.orders.to_say():
            self.emit(kind, payload)
        return self.orders.may_go()

    def _until_s(self, approval_id: str, timeout_s: float | None) -> float | None:
        ends = [self._expires_s.get(approval_id), None if timeout_s is None else time.monotonic() + timeout_s]
        return min((end for end in ends if end is not None), default=None)

    def _decision(self, approval_id: str, until_s: float | None) -> ApprovalDecision | None:
        self.check()
        decided = self.orders.decision(approval_id)
        if decided is None and until_s is not None and time.monotonic() >= until_s:
            self.approval_decided(approval_id, "EXPIRED", decided_by="runtime", reason="nobody decided in time")
            decided = self.orders.decision(approval_id)
        return decided
