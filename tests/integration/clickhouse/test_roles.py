"""Roles, against the real parser: what each may do, and every way round that we could think of."""

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module", autouse=True)
def _tables(endpoint: Any) -> None:
    endpoint.value(
        "CREATE TABLE procurator.events (a Int64, s String) ENGINE = MergeTree PARTITION BY a % 2 ORDER BY a"
    )
    endpoint.value("INSERT INTO procurator.events VALUES (1, 'secret'), (2, 'secret'), (3, 'secret'), (4, 'secret')")
    endpoint.value("CREATE VIEW finops.spend AS SELECT a FROM procurator.events")
    endpoint.value("CREATE TABLE default.other (a Int64) ENGINE = MergeTree ORDER BY a")
    endpoint.value("CREATE TABLE procurator.joined (a Int64, s String) ENGINE = Join(ANY, LEFT, a)")
    endpoint.value("INSERT INTO procurator.joined SELECT * FROM procurator.events")


def _code(endpoint: Any, user: str, sql: str | bytes, **params: Any) -> int:
    """ClickHouse's error number; 0 for success."""
    return int(endpoint.ask(sql, user, **params).headers.get("x-clickhouse-exception-code", "0"))


READS = [
    "SELECT count() FROM procurator.events",
    "WITH x AS (SELECT a FROM procurator.events) SELECT * FROM x WHERE a IN (SELECT number FROM numbers(3))",
    "SELECT * FROM procurator.events SETTINGS max_threads = 1 FORMAT JSON",
    "SHOW TABLES FROM procurator",
    "SHOW CREATE TABLE procurator.events",
    "DESCRIBE TABLE procurator.events",
    "EXISTS TABLE procurator.events",
    "EXPLAIN SELECT * FROM procurator.events",
    "SELECT name FROM system.tables WHERE database = 'procurator'",
    "SELECT * FROM values('a Int8', 1, 2)",
    "SELECT * APPLY(toString) FROM procurator.events",
    "SELECT file FROM (SELECT 1 AS file)",
    "SET max_threads = 1",
    "-- a comment\nSELECT 1 /* another */",
]
WRITES = [
    "INSERT INTO procurator.events VALUES (9, 'x')",
    "INSERT INTO procurator.events SELECT 9, 'x'",
    "WITH 1 AS x INSERT INTO procurator.events SELECT 9, 'x'",
]
REMOVALS = [
    "ALTER TABLE procurator.events DELETE WHERE a = 77",
    "ALTER TABLE procurator.events UPDATE s = '' WHERE a = 77",
    "ALTER TABLE procurator.events DROP PARTITION 7",
    "DELETE FROM procurator.events WHERE a = 77",
]
DEFINITIONS = [
    "DROP TABLE procurator.events",
    "DROP DATABASE procurator",
    "TRUNCATE TABLE procurator.events",
    "RENAME TABLE procurator.events TO procurator.gone",
    "EXCHANGE TABLES procurator.events AND default.other",
    "DETACH TABLE procurator.events",
    "OPTIMIZE TABLE procurator.events FINAL",
    "CREATE TABLE procurator.more (a Int8) ENGINE = Memory",
    "CREATE TABLE default.copy ENGINE = Memory AS SELECT * FROM procurator.events",
    "CREATE OR REPLACE VIEW finops.spend AS SELECT * FROM procurator.events",
    "CREATE TEMPORARY TABLE t (a Int8)",
    "CREATE FUNCTION f AS x -> x",
    "CREATE USER u",
    "GRANT ALL ON *.* TO reader",
    "ALTER TABLE procurator.events ADD COLUMN b Int8",
    "ALTER TABLE procurator.events DELETE WHERE a = 77, DROP COLUMN s",
    "ALTER TABLE procurator.events FREEZE",
    "ALTER TABLE procurator.events FETCH PARTITION 1 FROM '/x'",
    "ALTER TABLE procurator.events MODIFY SETTING old_parts_lifetime = 1",
    "ALTER TABLE procurator.events RESET SETTING non_replicated_deduplication_window",
    "ALTER TABLE default.other DELETE WHERE 1",
    "DELETE FROM default.other WHERE 1",
    "SYSTEM STOP MERGES",
    "SYSTEM SHUTDOWN",
    "KILL QUERY WHERE 1",
    "BACKUP TABLE procurator.events TO File('/tmp/never')",
    "ATTACH TABLE procurator.events",
    "EXECUTE AS admin SELECT 1",
    "BEGIN TRANSACTION",
]
ESCAPES = [
    "SELECT * FROM file('/etc/passwd', 'LineAsString')",
    "SELECT * FROM `file`('/etc/passwd', 'LineAsString')",
    "SELECT \"fi\\x6ce\"('/etc/passwd')",
    "SELECT FILE('/etc/passwd')",
    "SELECT * APPLY(x -> file('/etc/passwd')) FROM system.one",
    "SELECT * APPLY(file) FROM (SELECT '/etc/passwd')",
    "SELECT COLUMNS('d') APPLY file FROM (SELECT '/etc/passwd' AS d)",
    "SELECT arrayMap(x -> file(x), ['/etc/passwd'])",
    "WITH x AS (SELECT * FROM file('/etc/passwd', 'LineAsString')) SELECT * FROM x",
    "SELECT (SELECT any(line) FROM file('/etc/passwd', 'LineAsString'))",
    "SELECT 1 WHERE '1' IN (SELECT line FROM file('/etc/passwd', 'LineAsString'))",
    "SELECT '1' IN file('/etc/passwd', 'LineAsString')",
    "EXPLAIN SELECT * FROM file('/etc/passwd', 'LineAsString')",
    "DESCRIBE TABLE file('/etc/passwd')",
    "DESCRIBE TABLE url('http://127.0.0.1:1/')",
    "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
    "SELECT * FROM s3('http://127.0.0.1:1/x', 'CSV')",
    "SELECT * FROM remote('127.0.0.1:1', 'system', 'one')",
    "SELECT * FROM cluster('x', 'system', 'one')",
    "SELECT * FROM executable('x', 'TSV', 'a Int8')",
    "SELECT * FROM mysql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
    "SELECT * FROM sqlite('/tmp/x', 'y')",
    "SELECT * FROM python('x')",
    "SELECT * FROM loop(file('/etc/passwd', 'LineAsString'))",
    "SELECT * FROM view(SELECT * FROM file('/etc/passwd', 'LineAsString'))",
    "SELECT * FROM filesystem('/')",
    "SELECT 1 INTO OUTFILE '/tmp/never'",
    "SELECT 1 INTO OUTFILE '/tmp/never' APPEND FORMAT TSV",
    "SHOW TABLES INTO OUTFILE '/tmp/never'",
    "EXPLAIN SELECT 1 INTO OUTFILE '/tmp/never'",
    "INSERT INTO procurator.events FROM INFILE '/etc/passwd' FORMAT LineAsString",
    "INSERT INTO FUNCTION file('/tmp/never', 'CSV', 'a Int8') VALUES (1)",
    "INSERT INTO FUNCTION url('http://127.0.0.1:1/', 'CSV', 'a Int8') SELECT 1",
    "INSERT INTO procurator.events SELECT 1, file('/etc/passwd')",
    "INSERT INTO procurator.events SELECT * FROM input('a Int64, s String') FORMAT CSV\n1,x",
    "SELECT 1; DROP TABLE procurator.events",
    "SELECT 1;\n-- x\nSYSTEM SHUTDOWN",
    "SELECT 1 SETTINGS readonly = 0",
    "SET readonly = 0",
    "SET implicit_select = 1",
    "SET dialect = 'kusto'",
    "SELECT 1 SETTINGS additional_result_filter = 'file(\\'/etc/passwd\\') = 1'",
    "SELECT 1 SETTINGS \"additional\\x5fresult_filter\" = '1'",
    "SELECT * FROM procurator.events SETTINGS additional_table_filters = {'procurator.events': 'a = 1'}",
    "SELECT 1 FORMAT Template SETTINGS format_template_row = '/etc/passwd'",
    "SELECT 1 FORMAT Protobuf SETTINGS format_schema = '/etc/passwd:x'",
]


def test_the_admin_may_do_all(endpoint: Any) -> None:
    for sql in (
        *READS,
        *REMOVALS,
        "CREATE TABLE procurator.mine (a Int8) ENGINE = Memory",
        "DROP TABLE procurator.mine",
    ):
        assert _code(endpoint, "admin", sql) == 0, sql


@pytest.mark.parametrize("user", ["reader", "writer", "purger"])
@pytest.mark.parametrize("sql", READS)
def test_readers_read(endpoint: Any, user: str, sql: str) -> None:
    answer = endpoint.ask(sql, user)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("sql", DEFINITIONS + ESCAPES)
def test_nobody_else_defines_or_escapes(endpoint: Any, sql: str) -> None:
    before = endpoint.value("SELECT count() FROM procurator.events")
    for user in ("reader", "finops", "writer", "purger"):
        assert _code(endpoint, user, sql) in (62, 164, 497), user
    assert endpoint.value("SELECT count() FROM procurator.events") == before


@pytest.mark.parametrize("sql", WRITES)
def test_the_writer_inserts_and_readers_do_not(endpoint: Any, sql: str) -> None:
    assert _code(endpoint, "writer", sql) == 0
    for user, code in (("reader", 164), ("finops", 164), ("purger", 497)):
        assert _code(endpoint, user, sql) == code


@pytest.mark.parametrize("sql", REMOVALS)
def test_the_purger_removes_and_the_writer_does_not(endpoint: Any, sql: str) -> None:
    assert _code(endpoint, "purger", sql) == 0
    for user, code in (("reader", 164), ("finops", 164), ("writer", 497)):
        assert _code(endpoint, user, sql) == code


def test_the_purgers_database_is_the_one_it_names(endpoint: Any) -> None:
    assert _code(endpoint, "purger", "DELETE FROM events WHERE a = 77", database="procurator") == 0
    assert _code(endpoint, "purger", "DELETE FROM other WHERE a = 77") == 497
    assert _code(endpoint, "purger", "DELETE FROM {t:Identifier} WHERE 1", param_t="other") == 497


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT sum(a) FROM spend",
        "SELECT sum(a) FROM finops.spend",
        "WITH x AS (SELECT a FROM finops.spend) SELECT s.a FROM x AS s JOIN spend ON s.a = spend.a FORMAT JSON",
        "SHOW TABLES",
        "DESCRIBE TABLE spend",
        "SELECT 1 FROM system.one",
        "SELECT name FROM system.settings WHERE name = 'max_threads'",
        "SELECT version(), timezone(), currentDatabase()",
    ],
)
def test_finops_reads_its_views(endpoint: Any, sql: str) -> None:
    answer = endpoint.ask(sql, "finops")
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM procurator.events",
        "SELECT * FROM `procurator`.`events`",
        "SELECT * FROM spend WHERE a IN procurator.events",
        "SELECT (SELECT any(s) FROM procurator.events)",
        "SELECT * FROM spend UNION ALL SELECT a FROM procurator.events",
        "SELECT * FROM merge('procurator', 'events')",
        "SELECT * FROM merge('procurator.events', '.*')",
        "SELECT * FROM mergeTreeIndex('procurator', 'events')",
        "SELECT joinGet('procurator.joined', 's', toInt64(1))",
        "SELECT * APPLY(x -> joinGet('procurator.joined', 's', toInt64(1))) FROM spend",
        "SELECT * APPLY(x -> (SELECT any(s) FROM procurator.events)) FROM spend",
        "SELECT dictGet('procurator.d', 'x', 1)",
        "SELECT * FROM default.other",
        "SELECT * FROM system.tables",
        "SELECT * FROM system.columns",
        "SELECT * FROM system.processes",
        "SELECT * FROM information_schema.tables",
        "SHOW CREATE TABLE spend",
        "SHOW CREATE TABLE procurator.events",
        "DESCRIBE TABLE procurator.events",
        "SHOW TABLES FROM procurator",
        "SHOW PROCESSLIST",
        "USE procurator",
        "EXPLAIN SELECT * FROM spend",
        "CHECK TABLE spend",
        "SELECT a FROM spend ORDER BY a WITH FILL INTERPOLATE (a AS (SELECT any(a) FROM procurator.events))",
        "SELECT 1 SETTINGS implicit_table_at_top_level = 'procurator.events'",
    ],
)
def test_finops_reads_nothing_else(endpoint: Any, sql: str) -> None:
    assert _code(endpoint, "finops", sql) == 497, sql


def test_finops_has_no_other_database(endpoint: Any) -> None:
    assert _code(endpoint, "finops", "SELECT * FROM events", database="procurator") == 497
    assert _code(endpoint, "finops", "SELECT * FROM {t:Identifier}", param_t="procurator.events") != 0
    name = "SELECT * FROM {d:Identifier}.{t:Identifier}"
    assert _code(endpoint, "finops", name, param_d="procurator", param_t="events") == 497


@pytest.mark.parametrize(
    "name", ["readonly", "additional_result_filter", "format_schema", "implicit_select", "url_base"]
)
def test_settings_of_the_query_string_are_judged_too(endpoint: Any, name: str) -> None:
    for user in ("reader", "writer", "purger", "finops"):
        assert _code(endpoint, user, "SELECT 1", **{name: "0"}) == 497


@pytest.mark.parametrize("table", ["`{}`", "'{}'", "default.`{}`", "procurator.`{}`", "system.`{}`", "finops.`{}`"])
def test_no_file_is_a_table(endpoint: Any, tmp_path: Path, table: str) -> None:
    """The embedded engine takes the names of files for tables, unless it is kept from it."""
    path = tmp_path / "file.json"
    path.write_text('{"a": 1}')
    named = table.format(path)
    for user in ("admin", "reader", "writer", "purger", "finops"):
        for sql in (f"SELECT * FROM {named}", f"DESCRIBE TABLE {named}"):
            assert _code(endpoint, user, sql) in (60, 62, 497), sql


def test_a_verdict_is_for_one_role_and_one_database(endpoint: Any) -> None:
    sql = "DELETE FROM other WHERE a = 78"
    assert _code(endpoint, "admin", sql) == 0
    assert _code(endpoint, "purger", sql) == 497
    assert _code(endpoint, "purger", sql.replace("other", "events"), database="procurator") == 0
    assert _code(endpoint, "purger", sql.replace("other", "events"), database="default") == 497


def test_a_session_is_no_way_round(endpoint: Any) -> None:
    sid = {"session_id": "round"}
    assert _code(endpoint, "reader", "SELECT 1", **sid) == 0
    assert _code(endpoint, "reader", "SET max_threads = 3", **sid) == 0
    assert _code(endpoint, "reader", "SELECT * FROM file('/etc/passwd', 'LineAsString')", **sid) == 497
    assert _code(endpoint, "reader", "INSERT INTO procurator.events VALUES (1, '')", **sid) == 164
    assert endpoint.ask("SELECT getSetting('max_threads')", "reader", **sid).text == "3\n"
