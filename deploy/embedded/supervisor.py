"""IO: run child processes from frozen specifications: start, watch, restart, stop in order.

One thread a child, whose loop is the child's life. The guard sees to it that none outlives this process.
"""

import random
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import BinaryIO

from procurator.deploy.embedded.guard import Guard
from procurator.deploy.embedded.process import ProcessSpec, stop_tiers
from procurator.errors import UserError

#: A log larger than this is put aside (as ``name.log.1``) when its process starts.
LOG_BYTES_MAX = 16 << 20
_POLL_S = 0.05
_ARGUMENT_CHARS_MAX = 400

Say = Callable[[str], None]


class State(Enum):
    """Where a child is in its life."""

    WAITING = "waiting for what it depends on"
    STARTING = "starting"
    READY = "ready"
    DONE = "done"
    PAUSED = "waiting to be started again"
    FAILED = "failed to start"
    STOPPED = "stopped"


class Supervisor:
    """The children of ``specs``. ``start`` and ``stop`` once each; the rest from any thread in between."""

    def __init__(self, specs: tuple[ProcessSpec, ...], log_dir: Path, say: Say) -> None:
        self._specs = specs
        self._guard = Guard()
        self._changed = threading.Condition()
        self._children = {spec.name: _Child(spec, self, log_dir / f"{spec.name}.log", say) for spec in specs}

    def start(self) -> None:
        """Start every child, each as soon as what it depends on is ready."""
        for child in self._children.values():
            child.thread.start()

    def wait_ready(self, cancelled: Callable[[], bool]) -> bool:
        """Wait until every child is ready; return False when ``cancelled()`` became true first.

        Raises UserError when one could not be started: its name, the end of its log, and where that is.
        """
        while not cancelled():
            with self._changed:
                states = {child.state for child in self._children.values()}
                if State.FAILED in states:
                    break
                if states <= {State.READY, State.DONE}:
                    return True
                self._changed.wait(_POLL_S)
        for child in self._children.values():
            if child.state is State.FAILED:
                raise UserError(child.why_failed())
        return False

    def stop(self) -> None:
        """Stop every child, dependents first; a child that does not end within its ``stop_s`` is killed."""
        for child in self._children.values():
            child.forbid_start()
        for tier in stop_tiers(self._specs):
            deadline = time.monotonic() + max(spec.stop_s for spec in tier)
            for spec in tier:
                self._children[spec.name].terminate()
            for spec in tier:
                self._children[spec.name].join_or_kill(deadline)
        self._guard.close()

    def child(self, name: str) -> "_Child":
        """Return the child of that name; UserError if there is none."""
        try:
            return self._children[name]
        except KeyError:
            raise UserError(f"{name} is not part of this stack") from None

    def state(self, name: str) -> State:
        """Return where that child is in its life."""
        return self.child(name).state

    def await_that(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until a condition on the children holds; return whether it came to that in time."""
        with self._changed:
            return self._changed.wait_for(condition, timeout_s)

    def group(self) -> int:
        """Return the process group that children join."""
        return self._guard.group()

    def announce(self, child: "_Child", state: State) -> None:
        """Record a child's change of state and wake whoever waits for one."""
        with self._changed:
            child.state = state
            self._changed.notify_all()

    def dependencies_ready(self, spec: ProcessSpec) -> bool:
        """Say whether all that ``spec`` depends on is up; what was not chosen to run counts as being up."""
        return all(
            self._children[name].state in (State.READY, State.DONE)
            for name in spec.depends_on
            if name in self._children
        )


class _Child:
    """One child's life, lived by its own thread; ``_lock`` keeps a start from slipping past a stop."""

    def __init__(self, spec: ProcessSpec, supervisor: Supervisor, log: Path, say: Say) -> None:
        self.spec = spec
        self.state = State.WAITING
        self.starts = 0
        self._supervisor = supervisor
        self._log = log
        self._say = say
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._skip_pause = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._end = ""
        self.thread = threading.Thread(target=self._run, name=f"supervise-{spec.name}", daemon=True)

    def _run(self) -> None:
        self._become(self._live())

    def _live(self) -> State:
        """Start; wait until ready; wait for the end; pause; start again. Return how it ended."""
        while not self._supervisor.dependencies_ready(self.spec):
            if self._stopping.wait(_POLL_S):
                return State.STOPPED
        failures = ready_once = 0
        while True:
            began_s = time.monotonic()
            try:
                process = self._spawn()
            except OSError as error:  # no such program, no memory, a full disk
                self._end = f"could not be started: {error}"
            else:
                ready_once |= self._await_ready(process, began_s)
                code = process.wait() if process else 0
                if self._stopping.is_set():
                    return State.STOPPED
                if self.spec.one_shot and code == 0:
                    return State.DONE
                self._end = f"exited with code {code}" if code >= 0 else f"was killed by signal {-code}"
            failures = self.spec.restart.failures_after(failures, time.monotonic() - began_s)
            if not ready_once and failures >= self.spec.start_tries:
                return State.FAILED
            self._pause(failures)

    def _spawn(self) -> subprocess.Popen[bytes] | None:
        """Start the process, unless the stop has begun; the log says when and what."""
        with self._lock:
            if self._stopping.is_set():
                return None
            self._become(State.STARTING)
            self.starts += 1
            self.spec.cwd.mkdir(parents=True, exist_ok=True)
            if self.spec.ready_file:
                self.spec.ready_file.unlink(missing_ok=True)
            with _open_log(self._log) as log:
                now = datetime.now(UTC).isoformat(timespec="milliseconds")
                log.write(f"--- {now} start {self.starts}: {_shown(self.spec.argv)}\n".encode())
                log.flush()
                self._process = subprocess.Popen(
                    self.spec.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.spec.cwd,
                    env=self.spec.env,
                    process_group=self._supervisor.group(),
                )
            return self._process

    def _await_ready(self, process: subprocess.Popen[bytes] | None, began_s: float) -> bool:
        """Ask until it is ready or has ended; one that takes too long is killed, which ends it."""
        while process and process.poll() is None and not self._stopping.is_set():
            if not self.spec.one_shot and self.spec.ready():
                self._become(State.READY)
                self._say(f"{self.spec.name} ready after {time.monotonic() - began_s:.1f} s")
                return True
            if time.monotonic() - began_s > self.spec.start_s:
                process.kill()
                break
            self._stopping.wait(_POLL_S)
        return False

    def _pause(self, failures: int) -> None:
        self._become(State.PAUSED)
        pause_s = self.spec.restart.pause_s(failures, random.random())
        self._say(f"{self.spec.name} {self._end}; starting it again in {pause_s:.1f} s (see {self._log})")
        self._skip_pause.wait(pause_s)
        self._skip_pause.clear()

    def _become(self, state: State) -> None:
        self._supervisor.announce(self, state)

    def forbid_start(self) -> None:
        """From here on the process is not started any more."""
        with self._lock:
            self._stopping.set()
            self._skip_pause.set()

    def start_now(self) -> None:
        """End the pause before the next start."""
        self._skip_pause.set()

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """The running process, or the one that ended last."""
        return self._process

    def terminate(self) -> None:
        """Ask the process to end."""
        if self._process is not None:
            self._process.terminate()

    def join_or_kill(self, deadline_s: float) -> None:
        """Wait for the end of the process and of its thread; kill it at the deadline."""
        self.thread.join(max(0.0, deadline_s - time.monotonic()))
        if self.thread.is_alive() and self._process is not None:
            self._say(f"{self.spec.name} did not stop in time; killing it")
            self._process.kill()
        self.thread.join()

    def why_failed(self) -> str:
        """Return one line: which, how it ended, the last line of its log and where the log is."""
        text = self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""
        lines = [] if self._end.startswith("could not") else text.splitlines()
        last = next((line for line in reversed(lines) if line.strip()), "")
        return f"{self.spec.name} did not start: it {self._end}: {last.strip()[:300]} (see {self._log})"


def _shown(argv: tuple[str, ...]) -> str:
    """Return a command to read; an argument as long as a class path is cut."""
    return " ".join(part if len(part) <= _ARGUMENT_CHARS_MAX else f"{part[:80]}…" for part in argv)


def _open_log(path: Path) -> BinaryIO:
    """Open a log to append to, putting a large one aside first."""
    if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
        path.replace(path.with_name(f"{path.name}.1"))
    return path.open("ab")
