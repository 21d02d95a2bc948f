"""The numbered migrations for a ClickHouse cluster: the same statements, every table replicated and sharded. Pure.

Each table becomes two. ``<table>_local`` is a Replicated…MergeTree with the rows of one shard; under the table's own
name stands a Distributed table over it, which everything reads and inserts into. What is left of the statement is as
it was: there is no second copy of the SQL.

A log's rows are all on one shard, so that its head is one shard's matter and a deduplication token, which a shard's
replicas keep in Keeper, is still a compare-and-set on the head. What else that takes: docs/production.md.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from procurator.clickhouse_cluster import local
from procurator.errors import Fatal

#: Of a log's id the partition: it deals the logs of every topic out evenly.
_BY_LOG = "toUInt64OrZero(splitByChar(':', log_id)[-1])"
#: Table → which shard a row belongs to. Rows that replace one another must meet on one shard.
SHARDING = {
    "events": _BY_LOG,
    "audit": _BY_LOG,
    "ledger_control": _BY_LOG,
    "ledger_heads": _BY_LOG,
    "ledger_gaps": _BY_LOG,
    "sessions": "sipHash64(session_id)",
    "budget_status": "sipHash64(budget_id)",
}
#: Whole on every server, so that any of them can say which migrations have run.
EVERYWHERE = "migrations"
#: A shard's replicas share the tokens of all its logs. Time alone must never forget one: an insert that was not
#: acknowledged may come back with its replica, however long that was away.
_TOKENS = "replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 315360000"

_LOCAL_ONLY = re.compile(r"(?:ADD|DROP|MATERIALIZE|CLEAR) (?:INDEX|PROJECTION)\b|MODIFY SETTING\b")
_TAKES_OVER = re.compile(r"ATTACH PARTITION ALL FROM (\w+)")
_COLUMNS = re.compile(r"(?:ADD|DROP|COMMENT|MODIFY|RENAME) COLUMN\b")


@dataclass(frozen=True)
class Cluster:
    """A cluster as ``remote_servers`` of the servers' configuration names it, and the ledger's database there."""

    name: str
    database: str

    def render(self, statement: str) -> list[str]:
        """Return what to run instead of ``statement`` of a migration. Raises Fatal for a kind that is not known."""
        for pattern, render in _RULES:
            if found := pattern.match(statement):
                return render(self, found)
        raise Fatal(f"sink/cluster.py does not know how to run this on a cluster: {statement.splitlines()[0]}")

    @property
    def on(self) -> str:
        return f"ON CLUSTER {self.name}"


def _create_table(cluster: Cluster, found: re.Match[str]) -> list[str]:
    create, table, source, rest = found["create"], found["table"], found["source"], found["rest"]
    rest = re.sub(r"\bnon_replicated_deduplication_window = \d+", _TOKENS, rest)
    # A Distributed table hands on no ephemeral column; as an ordinary one the deadline is checked on the shard as well.
    rest = re.sub(r"\bEPHEMERAL\b", "DEFAULT", rest)
    if table == EVERYWHERE:
        path = "'/clickhouse/tables/{database}/{table}', '{shard}-{replica}'"
        rest = re.sub(r"\bENGINE = (\w*MergeTree)\b", rf"ENGINE = Replicated\1({path})", rest)
        return [f"{create} {table} {cluster.on}{rest}"]
    rest = re.sub(r"\bENGINE = (\w*MergeTree)\b", r"ENGINE = Replicated\1", rest)
    like = f" AS {local(source)}" if source else ""
    key = SHARDING.get(source or table)
    if key is None:
        raise Fatal(f"table {table} has no sharding key: add it to sink/cluster.py")
    over = f"Distributed({cluster.name}, {cluster.database}, {local(table)}, {key})"
    return [
        f"{create} {local(table)} {cluster.on}{like}{rest}",
        f"{create} {table} {cluster.on} AS {local(table)} ENGINE = {over}",
    ]


def _alter_table(cluster: Cluster, found: re.Match[str]) -> list[str]:
    table, commands = found["table"], found["rest"]
    on_parts = f"ALTER TABLE {local(table)} {cluster.on}{commands}"
    if _LOCAL_ONLY.match(commands.strip()):
        return [on_parts]
    if taken := _TAKES_OVER.fullmatch(commands.strip()):
        return [on_parts.replace(f"FROM {taken[1]}", f"FROM {local(taken[1])}")]
    if _COLUMNS.match(commands.strip()):
        return [on_parts, f"ALTER TABLE {table} {cluster.on}{commands}"]
    raise Fatal(f"sink/cluster.py does not know whether this concerns the Distributed table: {found[0][:80]}")


def _exchange_tables(cluster: Cluster, found: re.Match[str]) -> list[str]:
    # The Distributed tables stay: they name what is behind them, whatever that is now.
    return [f"EXCHANGE TABLES {local(found['one'])} AND {local(found['other'])} {cluster.on}"]


def _drop_table(cluster: Cluster, found: re.Match[str]) -> list[str]:
    return [f"DROP TABLE {found['table']} {cluster.on} SYNC", f"DROP TABLE {local(found['table'])} {cluster.on} SYNC"]


def _view_of_index(cluster: Cluster, found: re.Match[str]) -> list[str]:
    # An index is of the rows beside it: a view on each server, and a Distributed table that asks every shard.
    name, index = found["name"], found["index"]
    return [
        f"CREATE VIEW IF NOT EXISTS {local(name)} {cluster.on}{found['select']}"
        f"mergeTreeTextIndex('{cluster.database}', {local(found['table'])}, {index})",
        f"CREATE TABLE IF NOT EXISTS {name} {cluster.on} (token String)"
        f" ENGINE = Distributed({cluster.name}, {cluster.database}, {local(name)})",
    ]


def _after_name(cluster: Cluster, found: re.Match[str]) -> list[str]:
    return [f"{found['head']} {cluster.on}{found['rest']}"]


def _grant(cluster: Cluster, found: re.Match[str]) -> list[str]:
    return [f"GRANT {cluster.on} {found['rest']}".replace(" ON * ", f" ON {cluster.database}.* ")]


def _as_it_is(_cluster: Cluster, found: re.Match[str]) -> list[str]:
    return [found[0]]


_RULES: tuple[tuple[re.Pattern[str], Callable[[Cluster, re.Match[str]], list[str]]], ...] = tuple(
    (re.compile(pattern, re.DOTALL), render)
    for pattern, render in (
        (
            r"(?P<create>CREATE (?:OR REPLACE )?TABLE(?: IF NOT EXISTS)?) (?P<table>\w+)"
            r"(?: AS (?P<source>\w+))?(?P<rest>\s.*)",
            _create_table,
        ),
        (r"ALTER TABLE (?P<table>\w+)(?P<rest>\s.*)", _alter_table),
        (r"EXCHANGE TABLES (?P<one>\w+) AND (?P<other>\w+)", _exchange_tables),
        (r"DROP TABLE (?P<table>\w+)", _drop_table),
        (r"(?P<head>DROP VIEW IF EXISTS [\w.]+)(?P<rest>)", _after_name),
        (r"(?P<head>CREATE DATABASE IF NOT EXISTS [\w`]+)(?P<rest>)", _after_name),
        (
            r"CREATE VIEW IF NOT EXISTS (?P<name>\w+)(?P<select>\s[^(]*)"
            r"mergeTreeTextIndex\(currentDatabase\(\), (?P<table>\w+), (?P<index>\w+)\)",
            _view_of_index,
        ),
        (r"(?P<head>CREATE (?:OR REPLACE )?VIEW (?:IF NOT EXISTS )?[\w.]+)(?P<rest>\s.*)", _after_name),
        (r"(?P<head>CREATE ROLE IF NOT EXISTS [\w, ]+)(?P<rest>)", _after_name),
        (r"GRANT (?P<rest>.*)", _grant),
        # Through the Distributed tables, so that all shards take part.
        (r"INSERT INTO .*", _as_it_is),
    )
)
