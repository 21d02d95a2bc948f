"""The drill of docs/production.md: ClickHouse is lost, an older snapshot takes its place, the ledger is verified."""

import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from procurator.clickhouse import ClickHouse
from procurator.config import Settings
from procurator.deploy.embedded.components import ALL
from procurator.deploy.embedded.layout import Ports
from procurator.deploy.embedded.stack import Stack, StackConfig
from procurator.producers import Procurator
from procurator.verify.installation import ledger_check
from procurator.verify.ledger import verify_ledger
from procurator.verify.report import Report, Verdict

_SIGNED_S = 60.0
_SESSIONS = 20


def test_an_older_snapshot_of_clickhouse_is_filled_from_kafka_and_verifies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = StackConfig(tmp_path / "data", Ports.free(), ALL - {"retention", "forward"}, say=print)
    snapshot = tmp_path / "snapshot"
    with Stack(config) as stack:
        _publish(stack)
        before = _await_signed(stack, monkeypatch, 3 * _SESSIONS)
        with _frozen(stack, "clickhouse"):  # as a snapshot of the volume does
            shutil.copytree(stack.layout.of("clickhouse"), snapshot, symlinks=True)
        _publish(stack)
        after = _await_signed(stack, monkeypatch, 6 * _SESSIONS)
        lost = stack.layout.of("clickhouse")
    assert before < after
    shutil.rmtree(lost)
    snapshot.rename(lost)
    with Stack(config) as stack:
        assert _await_signed(stack, monkeypatch, after) >= after
        with closing(ClickHouse(stack.clickhouse_url, "admin", stack.admin_key, "procurator")) as clickhouse:
            assert clickhouse.rows("SELECT count() FROM ledger_gaps") == [[0]]
            assert clickhouse.rows("SELECT uniqExact(session_id), count() FROM events WHERE kind = 'SessionEnded'") == [
                [2 * _SESSIONS, 2 * _SESSIONS]
            ]


def _publish(stack: Stack) -> None:
    with Procurator(
        kafka_bootstrap_servers=stack.kafka, schema_registry_url=stack.registry_url, org_id="acme", owner_team_id="care"
    ) as procurator:
        for number in range(_SESSIONS):
            with procurator.session(agent="billing") as session:
                session.turn("user", f"Question {number}")


def _await_signed(stack: Stack, monkeypatch: pytest.MonkeyPatch, leaves: int) -> int:
    """Wait until so many leaves are signed and verified; return how many there are. Any doubt is a failure at once."""
    until_s = time.monotonic() + _SIGNED_S
    while (report := _verify(stack, monkeypatch)).counts["leaves"] < leaves or report.counts["entries_unsigned"]:
        assert time.monotonic() < until_s, f"not signed in {_SIGNED_S} s: {report.counts}"
        time.sleep(0.5)
    assert report.verdict is Verdict.SOUND, report.findings
    return report.counts["leaves"]


def _verify(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Report:
    """Verify as `procurator verify ledger` does, once there is a checkpoint."""
    for name, value in stack.env().items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    if not settings.checkpoints.exists():
        return Report()
    with ledger_check(settings) as check:
        return verify_ledger(check)


@contextmanager
def _frozen(stack: Stack, name: str) -> Iterator[None]:
    stack.kill(name, signal.SIGSTOP)
    try:
        yield
    finally:
        stack.kill(name, signal.SIGCONT)
