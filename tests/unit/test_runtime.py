"""How a component says that it is ready, and hears that it must stop."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from procurator.runtime import READY_FILE, Stop, announce_ready

COMPONENT = """
from procurator.runtime import Stop
stop = Stop()
print("running", flush=True)
stop.wait()
assert stop.is_set() and stop.wait(0.1)
raise SystemExit(stop.exit_code)
"""


def test_the_ready_file_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(READY_FILE, str(tmp_path / "ready"))
    announce_ready()
    announce_ready()
    assert (tmp_path / "ready").exists()


def test_without_a_supervisor_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(READY_FILE, raising=False)
    monkeypatch.chdir(tmp_path)
    announce_ready()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_the_wait(number: signal.Signals, code: int) -> None:
    with subprocess.Popen([sys.executable, "-c", COMPONENT], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        process.send_signal(number)
        assert process.wait(10) == code


def test_it_can_be_set_from_within_and_waited_for_in_any_thread() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    stop = Stop()
    try:
        assert not stop.is_set()
        waiter = threading.Thread(target=stop.wait)
        waiter.start()
        stop.set()
        waiter.join(10)
        assert not waiter.is_alive()
        began_s = time.monotonic()
        assert stop.wait(60)
        assert time.monotonic() - began_s < 10
        assert stop.exit_code == 0
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])
        stop.close()
