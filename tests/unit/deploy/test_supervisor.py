"""The supervisor, on small real processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from procurator.deploy.embedded import supervisor
from procurator.deploy.embedded.guard import Guard
from procurator.deploy.embedded.process import ProcessSpec, RestartPolicy
from procurator.deploy.embedded.supervisor import State, Supervisor
from procurator.errors import UserError

AT_ONCE = RestartPolicy(first_s=0.01, pause_s_max=0.02)
TIMEOUT_S = 20.0


def never() -> bool:
    return False


@contextmanager
def running(folder: Path, *specs: ProcessSpec, said: list[str] | None = None) -> Iterator[Supervisor]:
    """Start a supervisor whose logs are in ``folder``, and stop it."""
    under_test = Supervisor(specs, folder, (said if said is not None else []).append)
    under_test.start()
    try:
        yield under_test
    finally:
        under_test.stop()


def python(name: str, folder: Path, code: str, **fields: object) -> ProcessSpec:
    """Return a process that is ready once it has made the file ``name``.ready."""
    ready_file = folder / f"{name}.ready"
    defaults = {"ready": ready_file.exists, "ready_file": ready_file, "restart": AT_ONCE}
    argv = (sys.executable, "-S", "-c", f"import os, pathlib, signal, time\n{code}")
    return ProcessSpec(name, argv, folder, dict(os.environ), **{**defaults, **fields})  # type: ignore[arg-type]


READY = "pathlib.Path('{}.ready').touch()\n"
FOR_EVER = "time.sleep(600)\n"


def server(name: str, folder: Path, before: str = "", **fields: object) -> ProcessSpec:
    return python(name, folder, before + READY.format(name) + FOR_EVER, **fields)


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_a_start_follows_the_dependencies_and_a_stop_reverses_them(tmp_path: Path) -> None:
    log = "open('order', 'a').write('{} ')\n"
    on_stop = "signal.signal(15, lambda *_: (open('order', 'a').write('-{0} '), os._exit(0)))\n"
    specs = (
        server("api", tmp_path, log.format("api") + on_stop.format("api"), depends_on=("setup", "not-run")),
        python("setup", tmp_path, log.format("setup"), one_shot=True, depends_on=("kafka",)),
        server("kafka", tmp_path, log.format("kafka") + on_stop.format("kafka")),
    )
    with running(tmp_path, *specs) as under_test:
        assert under_test.wait_ready(never)
        assert under_test.state("setup") is State.DONE
    assert (tmp_path / "order").read_text() == "kafka setup api -api -kafka "
    assert {under_test.state(spec.name) for spec in specs} == {State.STOPPED, State.DONE}


def test_a_process_that_dies_is_started_again_and_must_get_ready_again(tmp_path: Path) -> None:
    said: list[str] = []
    with running(tmp_path, server("sink", tmp_path), said=said) as under_test:
        assert under_test.wait_ready(never)
        child = under_test.child("sink")
        assert child.process is not None
        os.kill(child.process.pid, signal.SIGKILL)
        until(lambda: child.starts == 2 and child.state is State.READY)
    assert [line for line in said if line.startswith("sink was killed by signal 9; starting it again in 0.0 s")]
    assert (tmp_path / "sink.log").read_text().count(" start ") == 2


def test_one_that_never_starts_fails_the_start_with_the_end_of_its_log(tmp_path: Path) -> None:
    broken = python("api", tmp_path, "print('no such port'); raise SystemExit(3)")
    with running(tmp_path, broken, server("sink", tmp_path)) as under_test:
        with pytest.raises(UserError) as caught:
            under_test.wait_ready(never)
        assert under_test.child("api").starts == 3
    assert str(caught.value) == (f"api did not start: it exited with code 3: no such port (see {tmp_path / 'api.log'})")


def test_one_that_hangs_before_it_is_ready_fails_the_start(tmp_path: Path) -> None:
    hangs = python("sink", tmp_path, FOR_EVER, start_s=0.1, start_tries=2)
    with (
        running(tmp_path, hangs) as under_test,
        pytest.raises(UserError, match="sink did not start: it was killed by"),
    ):
        under_test.wait_ready(never)


def test_a_program_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    missing = ProcessSpec("kafka", (str(tmp_path / "java"),), tmp_path)
    with (
        running(tmp_path, missing) as under_test,
        pytest.raises(UserError, match="kafka did not start: it could not be started: .*No such file"),
    ):
        under_test.wait_ready(never)


def test_a_start_can_be_cancelled(tmp_path: Path) -> None:
    with running(tmp_path, python("sink", tmp_path, FOR_EVER)) as under_test:
        assert not under_test.wait_ready(lambda: True)


def test_one_that_ignores_the_stop_is_killed(tmp_path: Path) -> None:
    said: list[str] = []
    deaf = server("sink", tmp_path, "signal.signal(15, signal.SIG_IGN)\n", stop_s=0.2)
    with running(tmp_path, deaf, said=said) as under_test:
        assert under_test.wait_ready(never)
        process = under_test.child("sink").process
    assert process is not None
    assert process.returncode == -signal.SIGKILL
    assert "sink did not stop in time; killing it" in said


def test_grandchildren_end_with_the_stop(tmp_path: Path) -> None:
    grandchild = (
        "import subprocess, sys\nchild = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    )
    tell = "open('grandchild', 'w').write(str(child.pid))\n"
    with running(tmp_path, server("sink", tmp_path, grandchild + tell)) as under_test:
        assert under_test.wait_ready(never)
        pid = int((tmp_path / "grandchild").read_text())
        assert psutil.pid_exists(pid)
    until(lambda: not alive(pid))


def alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


PARENT = """
import sys, time
from pathlib import Path
sys.path[:0] = {path!r}
from procurator.deploy.embedded.process import ProcessSpec
from procurator.deploy.embedded.supervisor import Supervisor
sleep = "import time; time.sleep(600)"
child = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {{sleep!r}}]); {{sleep}}"
specs = tuple(ProcessSpec(name, (sys.executable, "-c", child), Path({folder!r}), ready=lambda: True) for name in "ab")
under_test = Supervisor(specs, Path({folder!r}), lambda line: None)
under_test.start()
assert under_test.wait_ready(lambda: False)
print("ready", flush=True)
time.sleep(600)
"""


def test_nothing_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    code = PARENT.format(path=sys.path, folder=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        family = psutil.Process(parent.pid)
        until(lambda: len(family.children(recursive=True)) == 5)  # a guard, two children, two grandchildren
        pids = [process.pid for process in family.children(recursive=True)]
        parent.kill()
        parent.wait(TIMEOUT_S)
    until(lambda: not any(map(alive, pids)))


def test_a_guard_that_was_killed_is_replaced_in_the_same_group() -> None:
    guard = Guard()
    group = guard.group()
    with subprocess.Popen([sys.executable, "-c", f"import time; {FOR_EVER}"], process_group=group) as covered:
        os.kill(group, signal.SIGKILL)  # the guard leads the group
        until(lambda: not alive(group))
        assert guard.group() == group
        guard.close()
        assert covered.wait(TIMEOUT_S) == -signal.SIGKILL


def test_a_guard_without_a_group_makes_another() -> None:
    guard = Guard()
    group = guard.group()
    os.kill(group, signal.SIGKILL)
    until(lambda: not alive(group))
    until(lambda: guard.group() != group)
    guard.close()


def test_a_large_log_is_put_aside_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "LOG_BYTES_MAX", 10)
    (tmp_path / "sink.log").write_text("a longer line")
    with running(tmp_path, server("sink", tmp_path)) as under_test:
        assert under_test.wait_ready(never)
    assert (tmp_path / "sink.log.1").read_text() == "a longer line"
    assert "a longer line" not in (tmp_path / "sink.log").read_text()
