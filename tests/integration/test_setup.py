"""`procurator setup` on the real stack: everything there is made once, and repeating it changes nothing."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from procurator.clickhouse import ClickHouse
from procurator.deploy.embedded.stack import Stack
from procurator.errors import Fatal
from procurator.kafka import Topics
from procurator.sink.migrate import migrate
from procurator.topics import PRICES, SESSION_EVENTS, TOPICS


@pytest.fixture
def database(broker_stack: Stack) -> Iterator[str]:
    name = f"s_{uuid.uuid4().hex[:8]}"
    yield name
    with closing(ClickHouse(broker_stack.clickhouse_url, "admin", broker_stack.admin_key, name)) as clickhouse:
        clickhouse.execute(f"DROP DATABASE IF EXISTS {name} SYNC", database="")


def setup(stack: Stack, *options: str, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "procurator", "setup", *options],
        env={**os.environ, **stack.env("admin"), **env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_second_run_changes_nothing(broker_stack: Stack, database: str, tmp_path: Path) -> None:
    first = setup(broker_stack, PROCURATOR_CLICKHOUSE_DATABASE=database)
    assert first.returncode == 0, first.stderr
    topics = Topics(broker_stack.kafka).describe(topic.name for topic in TOPICS)
    assert len(topics) == len(TOPICS)
    second = setup(broker_stack, PROCURATOR_CLICKHOUSE_DATABASE=database)
    assert second.returncode == 0, second.stderr
    lines = dict(line.split(": ", 1) for line in second.stdout.splitlines())
    assert set(lines) == {"topics", "schemas", "tables", "prices", "signing key"}
    assert "none created" in lines["topics"]
    assert "none of" in lines["tables"]
    assert "none changed" in lines["prices"]
    assert Topics(broker_stack.kafka).describe(topics) == topics

    own = tmp_path / "prices.toml"
    own.write_text(
        'version = "1"\n[[price]]\nprovider = "openai"\nmodel = "gpt-4o"\norg_id = "nobody"\n'
        "usd_per_million = { input = 2, output = 8 }\n"
    )
    third = setup(broker_stack, "--prices", str(own), PROCURATOR_CLICKHOUSE_DATABASE=database)
    assert "models published, in force not before 60 s from now" in third.stdout

    place, kafka = (PRICES.name, 0), Topics(broker_stack.kafka)
    before = kafka.bounds([place])
    own.write_text(own.read_text().replace("output = 8", "output = -8"))
    refused = setup(broker_stack, "--prices", str(own), PROCURATOR_CLICKHOUSE_DATABASE=database)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert f"{own}, line 6, output: " in refused.stderr
    assert "the prices before stay in force" in refused.stderr
    assert kafka.bounds([place]) == before


def test_other_partitions_than_the_topics_have_are_refused(broker_stack: Stack, database: str) -> None:
    assert setup(broker_stack, PROCURATOR_CLICKHOUSE_DATABASE=database).returncode == 0
    refused = setup(broker_stack, PROCURATOR_CLICKHOUSE_DATABASE=database, PROCURATOR_PARTITIONS="7")
    assert refused.returncode == 2
    assert f"topic {SESSION_EVENTS.name} has 4 partitions, not 7" in refused.stderr


def test_a_neighbour_that_does_not_come_up_is_named(broker_stack: Stack) -> None:
    absent = setup(broker_stack, "--wait", "1", PROCURATOR_SCHEMA_REGISTRY_URL="http://127.0.0.1:9")
    assert absent.returncode == 2
    assert "schema registry at http://127.0.0.1:9 does not answer" in absent.stderr
    assert "Traceback" not in absent.stderr


def test_an_edited_migration_is_refused(broker_stack: Stack, database: str) -> None:
    with closing(ClickHouse(broker_stack.clickhouse_url, "admin", broker_stack.admin_key, database)) as clickhouse:
        first = migrate(clickhouse)
        assert len(first.applied) + len(first.passed_over) == first.shipped
        assert migrate(clickhouse).applied == []
        clickhouse.execute("INSERT INTO migrations (number, name, sha256) SELECT 1, 'ledger', repeat('0', 64)")
        clickhouse.execute("OPTIMIZE TABLE migrations FINAL")
        with pytest.raises(Fatal, match="migration 0001 ledger was edited after it ran"):
            migrate(clickhouse)
