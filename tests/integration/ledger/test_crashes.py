"""Sink and signer die while events come: the ledger is whole, and verifies."""

import signal
from collections.abc import Callable
from typing import Any

from procurator.producers import Procurator
from procurator.producers.simulator import simulate
from procurator.verify.report import Report, Verdict


def test_a_ledger_that_was_killed_over_and_over_verifies(ledger: Any, verified: Callable[..., Report]) -> None:
    stack, clickhouse = ledger.stack, ledger.clickhouse()
    ((before, uncounted),) = clickhouse.rows("SELECT count(), countIf(NOT counted) FROM events")
    published = 0
    with Procurator(
        kafka_bootstrap_servers=stack.kafka, schema_registry_url=stack.registry_url, agent="a", org_id="acme"
    ) as sdk:
        for round_, victims in enumerate((("sign",), ("sink",), ("sign", "sink"), ("kafka",))):
            published += sum(played.events for played in simulate(sdk, 5, seed=100 + round_))
            for victim in victims:
                stack.restart(victim, signal.SIGKILL)
    ledger.await_signed(before + published)
    report = verified(clickhouse)
    assert report.verdict is Verdict.SOUND, report.to_json()
    # Nothing was sent twice either, though Kafka died before it could confirm.
    assert report.counts["entries"] == before + published
    assert clickhouse.rows("SELECT count(), countIf(NOT counted) FROM events") == [[before + published, uncounted]]
    clickhouse.close()
