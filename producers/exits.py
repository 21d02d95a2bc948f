"""IO: the ways in which a process may end or split: interpreter exit, SIGTERM and SIGHUP, fork.

A signal whose handler is the default one, which kills the process on the spot, is taken: what is not delivered is
saved in a thread of its own, then the process dies of that same signal. A second one kills it at once. A handler of
the agent's own is left alone: it leads to an ordinary exit, or should call `Procurator.flush`.
"""

import _thread
import atexit
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

_SIGNALS = ("SIGTERM", "SIGHUP")
_installed_in: set[int] = set()


def install(save: Callable[[], None]) -> None:
    """Let ``save`` be called, in any thread, when this process ends; once a process."""
    if os.getpid() in _installed_in:
        return
    if not _installed_in:
        atexit.register(save)
    _installed_in.add(os.getpid())
    _on_end_of_worker(save)
    if threading.current_thread() is threading.main_thread():
        for name in _SIGNALS:
            _on_signal(getattr(signal, name), save)


def pin(thing: Any) -> None:
    """Let ``thing`` never be destroyed: in a forked child, a client has no threads, and ending it would hang."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _on_end_of_worker(save: Callable[[], None]) -> None:
    """Do what atexit does in a forked worker of multiprocessing, which leaves by another door."""
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is not None and multiprocessing.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, save, exitpriority=0)


def _on_signal(number: int, save: Callable[[], None]) -> None:
    def handle(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        # Not here: the interrupted thread may hold the very locks that saving needs.
        _thread.start_new_thread(die, ())

    def die() -> None:
        try:
            save()
        finally:
            os.kill(os.getpid(), number)

    with suppress(ValueError, OSError):  # Not the main interpreter.
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, handle)
