"""The asyncio tasks that are inside blocks of one session, to be cancelled from any thread when it must stop.

A task is cancelled once, and only while it is inside: the cancellation and the leaving of the block run in the task's
own event loop, so neither can overtake the other. What was cancelled is uncancelled when the block is left, as
`asyncio.timeout` does, so that the cancellation of somebody else is still told from ours.
"""

import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from procurator.producers.errors import SessionTerminated

if TYPE_CHECKING:
    import asyncio


class Guard:
    """The outermost block of a session in one task."""

    def __init__(self, task: "asyncio.Task[Any]") -> None:
        self.task = task
        self._loop = task.get_loop()
        self._inside = True
        self._requested = False
        self._cancelling_before = task.cancelling()

    def cancel(self, message: str) -> None:
        """Cancel the task soon, from any thread."""
        with suppress(RuntimeError):  # Its loop is closed.
            self._loop.call_soon_threadsafe(self._cancel, message)

    def leave(self) -> bool:
        """Leave the block; return whether somebody else has asked the task to stop as well."""
        self._inside = False
        asked = self.task.uncancel() if self._requested else self.task.cancelling()
        return asked > self._cancelling_before

    def _cancel(self, message: str) -> None:
        if self._inside:
            self._requested = True
            self.task.cancel(message)


class Tasks:
    """The guards of one session, one a task."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._guards: dict[asyncio.Task[Any], Guard] = {}
        self._message: str | None = None

    def enter(self) -> Guard | None:
        """Enter a block; return its guard if it is the outermost one in an asyncio task."""
        task = _current_task()
        if task is None:
            return None
        with self._lock:
            if task in self._guards:
                return None
            guard = self._guards[task] = Guard(task)
            if self._message is not None:  # It was cancelled between the caller's look and this.
                guard.cancel(self._message)
            return guard

    def leave(self, guard: Guard | None) -> bool:
        """Leave a block; return whether somebody else has asked its task to stop."""
        if guard is None:
            return False
        with self._lock:
            self._guards.pop(guard.task, None)
        return guard.leave()

    def cancel(self, message: str) -> None:
        """Cancel every task that is inside, and each that comes."""
        with self._lock:
            self._message = message
            for guard in self._guards.values():
                guard.cancel(message)


def _current_task() -> "asyncio.Task[Any] | None":
    if "asyncio" not in sys.modules:  # Where nobody has imported it, nobody runs it; importing it costs 50 ms.
        return None
    import asyncio

    try:
        return asyncio.current_task()
    except RuntimeError:  # No loop runs in this thread.
        return None


def is_stop(error: BaseException) -> bool:
    """Tell whether ``error`` is nothing but cancellations and terminations, those of a group included."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_stop(each) for each in error.exceptions)
    return isinstance(error, SessionTerminated) or is_cancellation(error)


def is_cancellation(error: BaseException) -> bool:
    """Tell whether ``error`` is a CancelledError, asyncio's or that of futures; by name, as importing them is dear."""
    return any(kind.__name__ == "CancelledError" for kind in type(error).__mro__)
