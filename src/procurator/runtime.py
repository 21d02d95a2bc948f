"""IO: how a component lives under a supervisor: it says when it is ready, and stops when it is told to.

The supervisor (``procurator up``, or a unit file) may set ``PROCURATOR_READY_FILE``; a component touches that
file when it does its job. SIGTERM, SIGINT and the end of the terminal (SIGHUP) ask for a clean stop.
"""

import contextlib
import os
import select
import signal
from pathlib import Path
from types import FrameType

READY_FILE = "PROCURATOR_READY_FILE"


def announce_ready() -> None:
    """Say that this component does its job from now on; nothing happens without a supervisor."""
    if path := os.environ.get(READY_FILE):
        Path(path).touch()


class Stop:
    """Set by SIGTERM, SIGINT or SIGHUP from its creation on; create it in the main thread, wait for it in any.

    A pipe rather than ``threading.Event``: a signal may arrive while the main thread holds the event's own lock. The
    interpreter itself writes to it: the handler alone would run too late for a signal that arrives when the main
    thread is just about to block, which then nothing would wake.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self.signal: int | None = None
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores it
                signal.signal(number, self._on_signal)

    def close(self) -> None:
        """Let go of the pipe; signals must not arrive any more."""
        signal.set_wakeup_fd(-1)
        os.close(self._reader)
        os.close(self._writer)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.signal = self.signal or number
        self.set()

    def set(self) -> None:
        """Ask for the stop from within."""
        with contextlib.suppress(BlockingIOError):  # full: it has been set often enough
            os.write(self._writer, b"x")

    def is_set(self) -> bool:
        """Say whether the stop has been asked for."""
        return self.wait(0)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the stop, at most ``timeout_s``; return whether it has been asked for."""
        return bool(select.select([self._reader], [], [], timeout_s)[0])

    @property
    def exit_code(self) -> int:
        """What the process should exit with: 130 after Ctrl-C, else 0."""
        return 130 if self.signal == signal.SIGINT else 0
