"""Runs one request on the engine, in a thread of the endpoint's pool.

The order, for every statement: a connection (the session's or a fresh one), the request's settings and parameters,
its database, its external tables, the judgement of its role, the run, and then the session as it was before.
"""

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import chain
from typing import IO

from procurator.deploy.embedded.clickhouse.bodies import decode
from procurator.deploy.embedded.clickhouse.engine import (
    Connection,
    Engine,
    Outcome,
    one_block,
    quote_name,
)
from procurator.deploy.embedded.clickhouse.policy import Asked, judge, judge_engine, judge_settings, parse_ast
from procurator.deploy.embedded.clickhouse.request import ExternalTable, Request
from procurator.deploy.embedded.clickhouse.sessions import Session
from procurator.deploy.embedded.clickhouse.statement import (
    Insert,
    InsertFromInput,
    Other,
    Select,
    Statement,
    parse,
)
from procurator.deploy.embedded.clickhouse.transport import memory_file
from procurator.deploy.embedded.clickhouse.users import Role, User
from procurator.deploy.embedded.clickhouse.wire import ClickHouseError

VERDICTS_MAX = 10_000
STATEMENTS_MAX = 1_000
TEXT_CACHED_BYTES_MAX = 8192


@dataclass
class Verdicts:
    """Statements that passed already, by role, method, database and text: judging again would give the same."""

    passed: set[tuple[Role, bool, str, bytes]] = field(default_factory=set)

    def add(self, key: tuple[Role, bool, str, bytes]) -> None:
        """Remember; forget all when full."""
        if len(self.passed) >= VERDICTS_MAX:
            self.passed.clear()
        self.passed.add(key)


class Task:
    """One authenticated request, cut into statement and data. Made in any thread, run in one of the pool."""

    def __init__(self, engine: Engine, verdicts: Verdicts, request: Request, user: User, mark: str) -> None:
        self.engine, self.verdicts, self.request, self.user, self.mark = engine, verdicts, request, user, mark
        self.connection: Connection | None = None
        self.cancelled = False
        self._joined: bytes | None = None
        self.statement = self._parse()

    def _parse(self) -> Statement:
        """The statement; its data may be in the query string's text, in the body, or run on from one to the other."""
        query, body = self.request.query, self.request.data
        if query.strip():
            if not body:
                self._joined = query
                return _parsed(query)
            statement = _parse_head(query)
            if isinstance(statement, Insert | InsertFromInput):
                return statement
            query += b"\n"
        self._joined = query + b"".join(decode(self.request.encoding, body))
        return _parsed(self._joined)

    @cached_property
    def role(self) -> Role:
        """The user's role."""
        return self.user.role

    @property
    def is_get(self) -> bool:
        """GET and HEAD write nothing."""
        return self.request.method in ("GET", "HEAD")

    def run(self, session: Session | None, write_fd: int | None) -> Outcome:
        """Run it. A SELECT writes to `write_fd`, which is closed when it ends; all else is in the outcome.

        Raises:
            ClickHouseError: what the engine, or the judgement of the role, says.
        """
        connection = session.connection if session else self.engine.connect()
        self.connection = connection
        dropped: list[str] = []
        try:
            judge_settings(self.role, self.request.settings)
            self._prepare(connection, session, dropped)
            return self._execute(connection, session, write_fd)
        finally:
            if write_fd is not None:
                os.close(write_fd)
            if session is None:
                connection.close()
            else:
                self._restore(connection, session, dropped)

    def _prepare(self, connection: Connection, session: Session | None, dropped: list[str]) -> None:
        settings = dict(self.request.settings)
        if isinstance(self.statement, Insert):
            settings = dict(one_block(settings, self.statement.head))
        database = session.database if session else "default"
        if self.role is Role.FINOPS and database == "default":
            database = "finops"
        connection.use(self.request.database or database)
        connection.apply(settings, self.request.params)
        for table in self.request.external:
            self._add_table(connection, table)
            dropped.append(table.name)
        if self.role in (Role.READER, Role.FINOPS):
            connection.read_only()

    def _add_table(self, connection: Connection, table: ExternalTable) -> None:
        name = quote_name(table.name)
        structure = table.structure.encode("utf-8", "surrogateescape")
        create = b"CREATE TEMPORARY TABLE %s (%s)" % (name, structure)
        for node in parse_ast(connection.explain_ast(create)):
            computes = node.kind == "Function" and not node.rest.startswith("equals")
            if computes or node.kind.startswith(("Select", "Storage", "Subquery")):
                raise ClickHouseError(36, f"Invalid structure of external table {table.name}", "BAD_ARGUMENTS")
        connection.run(create)
        with memory_file(len(table.data)) as file:
            head = b"INSERT INTO " + name
            connection.run(Insert(head, table.format, 0, len(head)).reading(_path(file, [table.data])))

    def _restore(self, connection: Connection, session: Session, dropped: list[str]) -> None:
        for name in dropped:
            connection.run(b"DROP TEMPORARY TABLE IF EXISTS " + quote_name(name))
        names = list(self.request.settings)
        if isinstance(self.statement, Insert):
            names = list(one_block(self.request.settings, self.statement.head))
        session.restore(names)

    def _execute(self, connection: Connection, session: Session | None, write_fd: int | None) -> Outcome:
        statement = self.statement
        if self.cancelled:
            raise ClickHouseError(394, "Query was cancelled", "QUERY_WAS_CANCELLED")
        if isinstance(statement, Select) and write_fd is not None:
            return self._select(connection, statement, write_fd)
        if isinstance(statement, Insert):
            self._judge(connection, statement.head + b" FORMAT Null")
            with self._data(statement.data_at) as path:
                return connection.run(statement.reading(path))
        if isinstance(statement, InsertFromInput):
            return self._insert_from_input(connection, statement)
        if isinstance(statement, Other) and statement.verb in ("CREATE", "ATTACH", "REPLACE"):
            judge_engine(statement.text)
        self._judge(connection, statement.text)
        outcome = connection.run(statement.text, self.request.default_format)
        if session is not None and isinstance(statement, Other):
            _follow(connection, session, statement)
        return outcome

    def _select(self, connection: Connection, statement: Select, write_fd: int) -> Outcome:
        path = f"/dev/fd/{write_fd}"
        text = statement.into(path, self.request.default_format, self.mark)
        try:
            self._judge(connection, text, statement.text, path)
            return connection.run(text)
        except ClickHouseError as error:
            if error.code != 62:
                raise
        # Either the client's text is wrong, and the message should quote that; or FORMAT was not where it seemed.
        self._judge(connection, statement.text)
        return connection.run(statement.text, self.request.default_format)

    def _insert_from_input(self, connection: Connection, statement: InsertFromInput) -> Outcome:
        if self.role is not Role.ADMIN or self.is_get:
            raise ClickHouseError(
                497, f"Not enough privileges: the role {self.role} may not use input()", "ACCESS_DENIED"
            )
        with self._data(statement.data_at) as path:
            return connection.run(statement.reading(path))

    def _judge(
        self, connection: Connection, text: bytes, original: bytes | None = None, outfile: str | None = None
    ) -> None:
        if self.role is Role.ADMIN and not self.is_get:
            return
        source = original or text
        key = (self.role, self.is_get, connection.database, source)
        if key in self.verdicts.passed:
            return
        asked = Asked(
            text,
            parse_ast(connection.explain_ast(text)),
            outfile,
            connection.database,
            self.engine.table_functions,
            self.engine.databases() if self.role is Role.FINOPS else frozenset(),
        )
        judge(self.role, asked, get=self.is_get)
        # A parameter of the type Identifier may stand for a name (every other is a literal, which nothing is judged
        # by), and a database may be made later: those are judged each time.
        named = b"{" in source and b"identifier" in source.lower()
        if len(source) <= TEXT_CACHED_BYTES_MAX and not named and self.role is not Role.FINOPS:
            self.verdicts.add(key)

    @contextmanager
    def _data(self, data_at: int) -> Iterator[str]:
        """The path of the data of an INSERT, known to be whole: a compressed body is taken apart to its end first."""
        if self._joined is not None:
            data = memoryview(self._joined)[data_at:]
            with memory_file(len(data)) as file:
                yield _path(file, [data])
            return
        first, body = self.request.query[data_at:], self.request.data
        if self.request.encoding in ("", "identity"):
            with memory_file(len(first) + len(body)) as file:
                yield _path(file, [first, body])
            return
        with tempfile.TemporaryFile() as file:
            yield _path(file, chain([first], decode(self.request.encoding, body)))


def _parsed(text: bytes) -> Statement:
    """The statement; a service asks the same ones again and again, with other parameters."""
    return _parsed_before(text) if len(text) <= TEXT_CACHED_BYTES_MAX else parse(text)


_parsed_before = lru_cache(maxsize=STATEMENTS_MAX)(parse)


def _parse_head(query: bytes) -> Statement | None:
    """The statement in the query string, if it can be cut without the body that follows."""
    try:
        return parse(query)
    except ClickHouseError:
        return None


def _follow(connection: Connection, session: Session, statement: Other) -> None:
    """Keep what a statement changed in its session."""
    if statement.verb == "SET":
        session.remember(statement.text)
    elif statement.verb == "USE":
        session.database = connection.database = connection.scalar(b"SELECT currentDatabase()")


def _path(file: IO[bytes], pieces: Iterable[bytes | memoryview]) -> str:
    """Fill the file, and say where the engine can read it."""
    file.writelines(pieces)
    file.flush()
    file.seek(0)
    return f"/dev/fd/{file.fileno()}"
