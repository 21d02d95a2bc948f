"""The engine: `chdb` connections on one data directory, as the endpoint uses them.

chdb is ClickHouse's own engine in this process. Cautions, all met in practice:

- One process may open a data directory, and must not fork once it has: the engine runs threads.
- A connection is a session of its own (settings, current database, temporary tables) and runs one statement at a
  time. Opening one costs 0.1 ms, so a request takes a fresh one and leaves nothing behind.
- `query` runs several statements if the text holds several; callers cut texts apart first (`statement.parse`) and
  `only_one` asks the engine's own splitter too.
- Results stream through `INTO OUTFILE '/dev/fd/N'`, N a pipe: any format, bounded by the pipe. (chdb's own streaming
  formats every block as a document of its own, which only some formats survive.) A closed pipe does not stop a
  query; `kill` does.
- Inserts read their data from a file, `FROM INFILE '/dev/fd/N'`. (chdb's own streaming insert takes a block that the
  table refuses, a broken CHECK or `throwIf`, for written, and says nothing.)
- Every call releases the GIL while the engine works.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import chdb

from procurator.deploy.embedded.clickhouse.wire import ClickHouseError, Summary

_chdb: Any = chdb._chdb
log = logging.getLogger(__name__)

# What a ClickHouse server has and the embedded engine has not: no bare expressions as statements, no introspection,
# and inserts that are in the table when they are acknowledged.
SERVER_SETTINGS: Mapping[str, str] = {
    "implicit_select": "0",
    "allow_introspection_functions": "0",
    "async_insert": "0",
}
# A deduplication token guards a block, so an insert that has one is made one block. Several blocks of a body that are
# only joined on the way (the engine's default) would be guarded by a number of tokens that depends on how the client
# cut them: the same token with another cut then appends instead of being dropped. Strict limits join them first.
ONE_BLOCK_SETTINGS: Mapping[str, str] = {
    "use_strict_insert_block_limits": "1",
    "input_format_parallel_parsing": "0",
    "max_insert_block_size": "10000000",
    "min_insert_block_size_rows": "10000000",
    "min_insert_block_size_bytes": "4294967296",
}


def quote(text: str) -> bytes:
    """A string literal."""
    raw = text.encode("utf-8", "surrogateescape")
    return b"'" + raw.replace(b"\\", b"\\\\").replace(b"'", b"\\'") + b"'"


def quote_name(text: str) -> bytes:
    """A quoted identifier."""
    return b"`" + text.encode("utf-8", "surrogateescape").replace(b"\\", b"\\\\").replace(b"`", b"\\`") + b"`"


def one_block(settings: Mapping[str, str], head: bytes) -> Mapping[str, str]:
    """The settings of an insert, made to arrive as one block if it has a deduplication token."""
    if "insert_deduplication_token" in settings or b"insert_deduplication_token" in head:
        return {**ONE_BLOCK_SETTINGS, **settings}
    return settings


@dataclass(frozen=True)
class Outcome:
    """What a statement gave: its result, if it was not written elsewhere."""

    body: bytes


class Connection:
    """One session of the engine. Not safe for two threads at a time; `kill` is made through another connection."""

    def __init__(self, path: str) -> None:
        self._conn = _translated(_chdb.connect, path)
        self.summary = Summary()
        self.database = "default"
        self.readonly = False
        self._conn.set_progress_callback(self._on_progress)
        self.apply(SERVER_SETTINGS)

    def _on_progress(self, numbers: dict[str, Any]) -> None:
        self.summary.update(numbers)

    def close(self) -> None:
        """Give the session up; a query that runs is cancelled."""
        self._conn.set_progress_callback(None)
        self._conn.close()

    def apply(self, settings: Mapping[str, str], params: Mapping[str, str] | None = None) -> None:
        """Set settings and query parameters for what follows.

        Raises:
            ClickHouseError: 115 for a setting there is none of, or what the engine says of a value.
        """
        pairs = [name.encode() + b"=" + quote(value) for name, value in settings.items()]
        pairs += [b"`param_" + name.encode() + b"`=" + quote(value) for name, value in (params or {}).items()]
        if pairs:
            self._query(b"SET " + b", ".join(pairs))

    def reset(self, names: Iterable[str]) -> None:
        """Give settings their default values again, as this endpoint has them."""
        pairs = [f"{n}={SERVER_SETTINGS[n]}" if n in SERVER_SETTINGS else f"{n}=DEFAULT" for n in names]
        if pairs:
            self._query(b"SET " + ", ".join(pairs).encode())

    def use(self, database: str) -> None:
        """Change the current database."""
        if database != self.database:
            self._query(b"USE " + quote_name(database))
            self.database = database

    def read_only(self) -> None:
        """Let the engine refuse writes from here on; there is no way back."""
        if not self.readonly:
            self._query(b"SET readonly=2")
            self.readonly = True

    def only_one(self, text: bytes) -> None:
        """Refuse a text that the engine's parser takes for several statements."""
        if self._conn.classify_query(text)["statement_count"] > 1:
            raise ClickHouseError(62, "Syntax error (Multi-statements are not allowed)", "SYNTAX_ERROR")

    def explain_ast(self, text: bytes) -> str:
        """The syntax tree of one statement, its parameters filled in."""
        self.only_one(text)
        tree: bytes = self._query(b"EXPLAIN AST " + text, "TSVRaw").bytes()
        return tree.decode("utf-8", "replace")

    def run(self, text: bytes, fmt: str = "TabSeparated") -> Outcome:
        """Run one statement; its result is whole in memory, in the format it names, else in `fmt`."""
        self.only_one(text)
        self.summary = Summary()
        result = self._query(text, fmt)
        self._count(result)
        return Outcome(result.bytes())

    def scalar(self, text: bytes) -> str:
        """The single value of a query of our own."""
        value: bytes = self._query(text, "TSVRaw").bytes()
        return value.decode().rstrip("\n")

    def _query(self, text: bytes, fmt: str = "TabSeparated") -> Any:
        return _translated(self._conn.query, text, fmt)

    def _count(self, result: Any) -> None:
        self.summary.update(
            {
                "read_rows": result.storage_rows_read(),
                "read_bytes": result.storage_bytes_read(),
                "written_rows": result.rows_written(),
                "written_bytes": result.bytes_written(),
                "result_rows": result.rows_read() or result.rows_written(),
                "result_bytes": result.size() or result.bytes_written(),
                "elapsed_ns": result.elapsed() * 1e9,
            }
        )


def _translated(call: Callable[..., Any], *args: Any) -> Any:
    """Call the engine; its errors become ClickHouse's."""
    try:
        return call(*args)
    except RuntimeError as error:
        raise ClickHouseError.parse(str(error)) from None


class Engine:
    """The engine on a data directory. Keeps one connection open, so that the engine stays up."""

    def __init__(self, path: str) -> None:
        self.path = path
        definition = Path(path, "metadata", "default.sql")
        # The embedded engine makes the database `default` itself and cannot open a directory that defines one.
        aside = definition.with_suffix(".aside")
        if definition.exists():
            definition.rename(aside)
        self._anchor = Connection(path)
        self._close_the_file_system(definition, aside)
        self.version = self._anchor.scalar(b"SELECT version()")
        self.timezone = self._anchor.scalar(b"SELECT timezone()")
        self.host = self._anchor.scalar(b"SELECT hostName()")
        names = self._anchor.scalar(b"SELECT lower(name) FROM system.table_functions")
        self.table_functions = frozenset(names.split("\n"))

    def _close_the_file_system(self, definition: Path, aside: Path) -> None:
        """Make the database `default` what it is on a server.

        The embedded engine lays the file system over it: there, `SELECT * FROM default."/etc/passwd"` reads that
        file, whoever asks. Detached and attached again it is the plain database that ``definition`` names: the one
        beneath, which has the tables of earlier starts.
        """
        known = self._anchor.scalar(b"SELECT engine, uuid FROM system.databases WHERE name = 'default'")
        engine, uuid = known.split("\t")
        if engine == "Atomic":
            return
        # While it has no tables, the engine gives it another id at each start: what was put aside is then of no use.
        # Once it has some, both are the same.
        definition.parent.mkdir(exist_ok=True)
        aside.unlink(missing_ok=True)
        definition.write_text(f"ATTACH DATABASE _ UUID '{uuid}'\nENGINE = Atomic\n")
        self._anchor.run(b"DETACH DATABASE default")
        self._anchor.run(b"ATTACH DATABASE default")

    def connect(self) -> Connection:
        """A fresh session."""
        return Connection(self.path)

    def databases(self) -> frozenset[str]:
        """The names of all databases."""
        connection = self.connect()
        try:
            return frozenset(connection.scalar(b"SELECT name FROM system.databases").split("\n"))
        finally:
            connection.close()

    def kill(self, mark: str) -> None:
        """Stop the query that ends with the comment `mark`, if it still runs."""
        connection = self.connect()
        try:
            connection.run(b"KILL QUERY WHERE endsWith(query, " + quote(f"/* {mark} */") + b") SYNC")
        except ClickHouseError as error:
            log.warning("could not stop query %s: %s", mark, error)
        finally:
            connection.close()

    def close(self) -> None:
        """Shut the engine down."""
        self._anchor.close()
