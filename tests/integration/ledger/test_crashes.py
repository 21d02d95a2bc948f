"""Sink and signer die while events come: the ledger is whole, and verifies."""

import signal
from collections.abc import Callable
from typing import Any

from procurator.producers import Procurator
from procurator.producers.simulator import simulate
from procurator.verify.report import Report, Verdict


def test_a_ledger_that_was_killed_over_and_over_verifies(ledger: Any, verified: Callable[..., Report]) -> None:
    stack, clickhouse, sessions = ledger.stack, ledger.clickhouse(), []
    with Procurator(
        kafka_bootstrap_servers=stack.kafka, schema_registry_url=stack.registry_url, agent="a", org_id="acme"
    ) as sdk:
        for round_, victims in enumerate((("sign",), ("sink",), ("sign", "sink"), ("kafka",))):
            sessions += simulate(sdk, 5, seed=100 + round_)
            for victim in victims:
                stack.restart(victim, signal.SIGKILL)
        assert sdk.flush(120) == 0
    published, ids = sum(played.events for played in sessions), [played.session_id for played in sessions]
    ledger.await_signed(published, ids)
    report = verified(clickhouse)
    assert report.verdict is Verdict.SOUND, report.to_json()
    # Nothing was sent twice either, though Kafka died before it could confirm.
    found = "SELECT count(), uniqExact(event_id), countIf(counted) FROM events WHERE session_id IN {ids:Array(String)}"
    assert clickhouse.rows(found, {"ids": ids}) == [[published, published, published]]
    clickhouse.close()
