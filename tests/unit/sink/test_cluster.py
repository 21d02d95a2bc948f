"""What the migrations become on a ClickHouse cluster."""

import re

import pytest

from procurator.clickhouse_cluster import LEDGER_SETTINGS, altered
from procurator.errors import Fatal
from procurator.query_api.search.begun import WordsBegun
from procurator.sink.cluster import SHARDING, Cluster
from procurator.sink.migrate import script, shipped

CLUSTER = Cluster("main", "ledger")
_BY_LOG = "toUInt64OrZero(splitByChar(':', log_id)[-1])"


@pytest.mark.parametrize(
    ("statement", "rendered"),
    [
        pytest.param(
            "CREATE TABLE IF NOT EXISTS events\n(\n    log_id String,\n    insert_by DateTime EPHEMERAL now() + 10\n)\n"
            "ENGINE = MergeTree\nORDER BY log_id\nSETTINGS non_replicated_deduplication_window = 20000",
            [
                "CREATE TABLE IF NOT EXISTS events_local ON CLUSTER main\n(\n    log_id String,\n"
                "    insert_by DateTime DEFAULT now() + 10\n)\n"
                "ENGINE = ReplicatedMergeTree\nORDER BY log_id\nSETTINGS replicated_deduplication_window = 100000,"
                " replicated_deduplication_window_seconds = 315360000",
                "CREATE TABLE IF NOT EXISTS events ON CLUSTER main AS events_local"
                f" ENGINE = Distributed(main, ledger, events_local, {_BY_LOG})",
            ],
            id="a table is a replicated one and a distributed one over it",
        ),
        pytest.param(
            "CREATE OR REPLACE TABLE other AS sessions ENGINE = ReplacingMergeTree(version) ORDER BY session_id",
            [
                "CREATE OR REPLACE TABLE other_local ON CLUSTER main AS sessions_local"
                " ENGINE = ReplicatedReplacingMergeTree(version) ORDER BY session_id",
                "CREATE OR REPLACE TABLE other ON CLUSTER main AS other_local"
                " ENGINE = Distributed(main, ledger, other_local, sipHash64(session_id))",
            ],
            id="a table like another is sharded like it",
        ),
        pytest.param(
            "CREATE TABLE IF NOT EXISTS migrations\n(number UInt32)\nENGINE = ReplacingMergeTree\nORDER BY number",
            [
                "CREATE TABLE IF NOT EXISTS migrations ON CLUSTER main\n(number UInt32)\nENGINE ="
                " ReplicatedReplacingMergeTree('/clickhouse/tables/{database}/{table}', '{shard}-{replica}')\n"
                "ORDER BY number"
            ],
            id="what has run is known to every server",
        ),
        pytest.param(
            "ALTER TABLE events\n    ADD COLUMN IF NOT EXISTS n UInt8",
            [
                "ALTER TABLE events_local ON CLUSTER main\n    ADD COLUMN IF NOT EXISTS n UInt8",
                "ALTER TABLE events ON CLUSTER main\n    ADD COLUMN IF NOT EXISTS n UInt8",
            ],
            id="a column is added to both",
        ),
        pytest.param(
            "ALTER TABLE events MATERIALIZE INDEX IF EXISTS words",
            ["ALTER TABLE events_local ON CLUSTER main MATERIALIZE INDEX IF EXISTS words"],
            id="an index is where the rows are",
        ),
        pytest.param(
            "ALTER TABLE other ATTACH PARTITION ALL FROM events",
            ["ALTER TABLE other_local ON CLUSTER main ATTACH PARTITION ALL FROM events_local"],
            id="a shard's parts stay on it",
        ),
        pytest.param(
            "EXCHANGE TABLES sessions AND other",
            ["EXCHANGE TABLES sessions_local AND other_local ON CLUSTER main"],
            id="what is exchanged is behind the distributed tables",
        ),
        pytest.param(
            "DROP TABLE other",
            ["DROP TABLE other ON CLUSTER main SYNC", "DROP TABLE other_local ON CLUSTER main SYNC"],
            id="both go",
        ),
        pytest.param(
            "CREATE VIEW IF NOT EXISTS finops.v_v1 DEFINER = CURRENT_USER SQL SECURITY DEFINER AS\nSELECT 1",
            [
                "CREATE VIEW IF NOT EXISTS finops.v_v1 ON CLUSTER main"
                " DEFINER = CURRENT_USER SQL SECURITY DEFINER AS\nSELECT 1"
            ],
            id="a view is on every server",
        ),
        pytest.param(
            "CREATE VIEW IF NOT EXISTS words DEFINER = CURRENT_USER SQL SECURITY DEFINER AS\n"
            "SELECT token FROM mergeTreeTextIndex(currentDatabase(), events, content_text)",
            [
                "CREATE VIEW IF NOT EXISTS words_local ON CLUSTER main DEFINER = CURRENT_USER SQL SECURITY DEFINER AS\n"
                "SELECT token FROM mergeTreeTextIndex('ledger', events_local, content_text)",
                "CREATE TABLE IF NOT EXISTS words ON CLUSTER main (token String)"
                " ENGINE = Distributed(main, ledger, words_local)",
            ],
            id="an index is read on each shard",
        ),
        pytest.param(
            "DROP VIEW IF EXISTS finops.spend_v1",
            ["DROP VIEW IF EXISTS finops.spend_v1 ON CLUSTER main"],
            id="a view goes everywhere",
        ),
        pytest.param(
            "GRANT CLUSTER ON *.* TO procurator_purger",
            ["GRANT ON CLUSTER main CLUSTER ON *.* TO procurator_purger"],
            id="a grant on everything stays one",
        ),
        pytest.param(
            "GRANT SELECT, INSERT ON * TO procurator_writer",
            ["GRANT ON CLUSTER main SELECT, INSERT ON ledger.* TO procurator_writer"],
            id="a grant names its database",
        ),
        pytest.param(
            "CREATE ROLE IF NOT EXISTS a, b", ["CREATE ROLE IF NOT EXISTS a, b ON CLUSTER main"], id="roles everywhere"
        ),
        pytest.param(
            "INSERT INTO sessions SELECT * FROM other",
            ["INSERT INTO sessions SELECT * FROM other"],
            id="a copy goes through the distributed tables",
        ),
    ],
)
def test_a_statement_on_a_cluster(statement: str, rendered: list[str]) -> None:
    assert CLUSTER.render(statement) == rendered


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("CREATE TABLE novel (x UInt8)\nENGINE = MergeTree\nORDER BY x", "table novel has no sharding key"),
        ("TRUNCATE TABLE events", "does not know how to run this on a cluster: TRUNCATE TABLE events"),
        ("ALTER TABLE events MODIFY TTL day + 1", "does not know whether this concerns the Distributed table"),
    ],
)
def test_what_is_not_known_is_refused(statement: str, message: str) -> None:
    with pytest.raises(Fatal, match=message):
        CLUSTER.render(statement)


def test_every_migration_can_run_on_a_cluster() -> None:
    steps = script("ledger", "main")
    for step in steps:
        if not step.startswith("INSERT"):
            assert "ON CLUSTER main" in step
        plain = re.sub(r"'[^']*'", "", step)
        assert not re.search(r"ENGINE = \w*(?<!Replicated)(?<!ReplicatedReplacing)MergeTree\b", plain), step
        assert "non_replicated" not in plain
        assert "EPHEMERAL" not in plain
    distributed = {found[1] for step in steps if (found := re.search(r"TABLE IF NOT EXISTS (\w+) .*Distributed", step))}
    assert distributed >= SHARDING.keys()


def test_whoever_alters_on_a_cluster_may() -> None:
    assert "GRANT ON CLUSTER main CLUSTER ON *.* TO procurator_purger" in script("ledger", "main")


def test_of_an_index_no_distributed_table_is_asked() -> None:
    (asked,) = {found for step in script("ledger", "main") for found in re.findall(r"mergeTreeTextIndex\((.*?),", step)}
    assert asked == "'ledger'"
    assert "mergeTreeTextIndex" not in WordsBegun("content", "refun").to_sql()[0]


def test_a_single_server_runs_the_files_as_they_are() -> None:
    statements = [statement for migration in shipped() for statement in migration.statements]
    assert script("ledger", "")[2:] == statements


def test_rows_are_altered_where_they_are() -> None:
    assert altered("events", "") == "events"
    assert altered("events", "main") == "events_local ON CLUSTER main"


def test_an_insert_waits_for_a_majority_and_no_replica_that_lags_is_read() -> None:
    assert LEDGER_SETTINGS["insert_quorum"] == "auto"
    assert LEDGER_SETTINGS["distributed_foreground_insert"] == "1"
    assert LEDGER_SETTINGS["fallback_to_stale_replicas_for_distributed_queries"] == "0"
