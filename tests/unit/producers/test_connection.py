"""What is known of Kafka: that it is silent, that it is back; and what a fork must wait for."""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from procurator.errors import UserError
from procurator.producers import connection
from procurator.producers.connection import Connection


def test_a_silent_kafka_is_away_until_it_confirms_again_and_keeps_what_it_was_given(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connection, "STALL_S", -1.0)
    broker: Any = SimpleNamespace(outstanding=0, confirmed=0)
    found = Connection(lambda: broker)
    found.open()
    found.watch(broker)
    assert found.away is None  # Nothing is asked of it.
    broker.outstanding = 3
    found.watch(broker)
    assert found.away == "Kafka: it has confirmed nothing for -1 s"
    assert found.broker is broker
    for _ in range(2):
        found.complain("they wait")
    broker.confirmed = 1
    found.watch(broker)
    assert found.away is None
    assert [line.partition(":")[0] for line in caplog.messages] == [
        "events cannot be delivered for now, they wait",
        "Kafka is back; what waited is sent now",
    ]


def test_a_reason_is_said_once_and_one_that_is_new_is_said_too(caplog: pytest.LogCaptureFixture) -> None:
    found = Connection(SimpleNamespace)
    for why in ("timed out", "run `procurator setup`", "timed out"):
        found.lose(why)
        for _ in range(2):
            found.complain("they wait")
    said = "events cannot be delivered for now, they wait"
    assert caplog.messages == [f"{said}: timed out", f"{said}: run `procurator setup`"]


def test_who_connects_is_told_and_nothing_is_logged_while_nothing_waits(caplog: pytest.LogCaptureFixture) -> None:
    def refused() -> Any:
        raise UserError("run `procurator setup`")

    found = Connection(refused)
    with pytest.raises(UserError, match="procurator setup"):
        found.open()
    while found.away is None:
        found.look()
    assert found.away == "run `procurator setup`"
    assert not caplog.messages


def test_a_fork_waits_for_imports_that_another_thread_is_at() -> None:
    script = (
        "import os, threading\n"
        "from procurator.producers import late\n"
        "began, over = threading.Event(), threading.Event()\n"
        "def importing():\n"
        "    with late._importing:\n"
        "        began.set()\n"
        "        over.wait(0.2)\n"
        "        over.set()\n"
        "threading.Thread(target=importing).start()\n"
        "began.wait()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    late.import_clients()\n"
        "    os._exit(0 if over.is_set() else 1)\n"
        "raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", script], timeout=60, check=False).returncode == 0
