"""Numbered migrations: which there are, which are still to run, and running them.

``migrations/NNNN_name.sql``: statements that each end with a semicolon at the end of a line, every one idempotent,
since a crash between a statement and its record repeats the file. A migration that has run is never edited: its
digest is recorded, and a file that differs is refused.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from procurator.clickhouse import ClickHouse
from procurator.errors import Fatal, UserError
from procurator.sink.cluster import Cluster

#: The first release whose text index is generally available.
VERSION_MIN = (26, 2)

_FILE = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql").fullmatch
_STATEMENT_END = re.compile(r";[ \t]*(?:\n|\Z)")
_COMMENT = re.compile(r"^[ \t]*--.*\n?", re.MULTILINE)
_NEEDS_ACCESS_CONTROL = "-- requires: access_control\n"
_NEEDS_NO_ENTRIES = "-- requires: no_entries\n"
_RECORDS = """CREATE TABLE IF NOT EXISTS migrations
(
    number UInt32,
    name String,
    sha256 FixedString(64) COMMENT 'of the file, in hex',
    applied_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree
ORDER BY number
"""


@dataclass(frozen=True)
class Migration:
    """One file.

    ``needs_access_control``: it is about roles, and passed over where the engine has none. ``needs_no_entries``: it
    only makes a ledger quicker, and is passed over where one has begun: nothing is moved that cannot be made again.
    """

    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """Return the digest of the file in hex."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def needs_access_control(self) -> bool:
        return self.sql.startswith(_NEEDS_ACCESS_CONTROL)

    @property
    def needs_no_entries(self) -> bool:
        return self.sql.startswith(_NEEDS_NO_ENTRIES)

    @property
    def statements(self) -> list[str]:
        """Return the statements, without whole-line comments."""
        parts = (_COMMENT.sub("", part).strip() for part in _STATEMENT_END.split(self.sql))
        return [part for part in parts if part]


def shipped() -> list[Migration]:
    """Return the migrations of this version, ascending. Raises Fatal when their numbers have a hole or repeat."""
    found = []
    for file in resources.files("procurator.sink").joinpath("migrations").iterdir():
        match = _FILE(file.name)
        if match:
            found.append(Migration(int(match[1]), match[2], file.read_text("utf-8")))
    found.sort(key=lambda migration: migration.number)
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise Fatal(f"migrations are not numbered 1, 2, 3 …: {[migration.number for migration in found]}")
    return found


def pending(migrations: list[Migration], applied: Mapping[int, str]) -> list[Migration]:
    """Return what is still to run. ``applied``: number → digest, as recorded.

    Raises Fatal when an applied migration was edited, or when the database is newer than this version.
    """
    known = {migration.number for migration in migrations}
    if newer := sorted(applied.keys() - known):
        raise Fatal(
            f"the database has migration {newer[-1]}, this version knows {max(known, default=0)}: upgrade first"
        )
    for migration in migrations:
        if applied.get(migration.number, migration.sha256) != migration.sha256:
            raise Fatal(
                f"migration {migration.number:04} {migration.name} was edited after it ran: add another instead"
            )
    return [migration for migration in migrations if migration.number not in applied]


def check_version(version: str) -> None:
    """Raise UserError when a ClickHouse of this version lacks what the tables need."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers < VERSION_MIN:
        minimum = ".".join(map(str, VERSION_MIN))
        raise UserError(f"ClickHouse {version} has no text index fit for use: {minimum} or newer is needed, upgrade it")


@dataclass(frozen=True)
class Migrated:
    """What a run did: ``passed_over`` needs what is not given here; the next run looks again."""

    shipped: int
    applied: list[Migration]
    passed_over: list[Migration]


def migrate(clickhouse: ClickHouse) -> Migrated:
    """Bring the database to this version. Raises what the client raises, Fatal and UserError."""
    check_version(clickhouse.version())
    for step in _rendered(_database(clickhouse.database), clickhouse.database, clickhouse.cluster):
        clickhouse.execute(step, database="")
    for step in _rendered(_RECORDS, clickhouse.database, clickhouse.cluster):
        clickhouse.execute(step)
    recorded = clickhouse.rows("SELECT number, any(sha256) FROM migrations GROUP BY number")
    migrations = shipped()
    todo = pending(migrations, {int(number): str(sha256) for number, sha256 in recorded})
    done = Migrated(len(migrations), [], [])
    for migration in todo:
        if _must_pass_over(clickhouse, migration):
            done.passed_over.append(migration)
            continue
        for statement in migration.statements:
            for step in _rendered(statement, clickhouse.database, clickhouse.cluster):
                clickhouse.execute(step)
        _record(clickhouse, migration)
        done.applied.append(migration)
    return done


def script(database: str, cluster: str) -> list[str]:
    """Return every statement that `migrate` runs on empty servers; ``cluster`` is empty for a single one."""
    steps = [_database(database), _RECORDS, *(step for migration in shipped() for step in migration.statements)]
    return [rendered for step in steps for rendered in _rendered(step.strip(), database, cluster)]


def _database(name: str) -> str:
    return f"CREATE DATABASE IF NOT EXISTS `{name}`"


def _rendered(statement: str, database: str, cluster: str) -> list[str]:
    return Cluster(cluster, database).render(statement) if cluster else [statement]


def _record(clickhouse: ClickHouse, migration: Migration) -> None:
    sql = "INSERT INTO migrations (number, name, sha256) SELECT {number:UInt32}, {name:String}, {sha256:String}"
    clickhouse.execute(sql, {"number": migration.number, "name": migration.name, "sha256": migration.sha256})


def _must_pass_over(clickhouse: ClickHouse, migration: Migration) -> bool:
    if migration.needs_access_control:
        return not _may_create_roles(clickhouse)
    return migration.needs_no_entries and clickhouse.rows("SELECT count() FROM events") != [[0]]


def _may_create_roles(clickhouse: ClickHouse) -> bool:
    # The engine in a process has no users at all: there the endpoint in front of it keeps the roles.
    return clickhouse.rows("CHECK GRANT CREATE ROLE ON *.*") == [[1]]
