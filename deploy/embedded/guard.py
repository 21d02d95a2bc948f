"""IO: no orphans. Children live in the process group of a guard, which kills the group when this process is gone.

The guard reads from a pipe whose other end only this process holds: the kernel closes it whatever ends us,
SIGKILL included. The group is joined before exec, so there is no moment in which a child is not covered, and
grandchildren are covered too. Unlike Linux's PR_SET_PDEATHSIG this also works on macOS and from any thread.
"""

import subprocess
import sys
import threading

_GUARD = """\
import os, signal
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
os.read(0, 1)
os.killpg(0, signal.SIGKILL)
"""


class Guard:
    """A process group that ends with this process. Methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] = self._start(0)
        self._group = self._process.pid

    def group(self) -> int:
        """Return the group that children must join, with a living guard in it."""
        with self._lock:
            if self._process.poll() is not None:
                self._replace()
            return self._group

    def _replace(self) -> None:
        """Put another guard into the same group, so that what runs there stays covered."""
        self._close_pipe()
        try:
            self._process = self._start(self._group)
        except OSError:  # the group is empty, and gone
            self._process = self._start(0)
            self._group = self._process.pid

    def close(self) -> None:
        """Kill whatever is left in the group, the guard included."""
        with self._lock:
            self._close_pipe()
            self._process.wait()

    def _close_pipe(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    @staticmethod
    def _start(group: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-I", "-S", "-c", _GUARD], stdin=subprocess.PIPE, process_group=group)
