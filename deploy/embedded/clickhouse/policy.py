"""What each role may do, decided on the engine's own syntax tree.

Pure. The engine has no users, so the endpoint judges every statement of a role other than admin before it runs, on
what `EXPLAIN AST` prints for exactly the text that will run. Two things that tree does not show are looked for among
the statement's tokens: what `APPLY` calls, and the names of settings. The engine's own `readonly = 2` stands behind
it for readers.

=======  ==============================================================================================
admin    anything (over GET: nothing that writes, as in ClickHouse) but what `judge_engine` refuses
writer   SELECT, SHOW, DESCRIBE, EXPLAIN, INSERT
reader   SELECT, SHOW, DESCRIBE, EXPLAIN
finops   the same, from the database `finops` and a few system tables only
purger   as reader, and ALTER … DELETE | UPDATE | DROP PARTITION, DELETE FROM in the database `procurator`
=======  ==============================================================================================

None but admin reaches files, other hosts, commands or a setting that does.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from procurator.deploy.embedded.clickhouse.lexer import tokens
from procurator.deploy.embedded.clickhouse.users import Role
from procurator.deploy.embedded.clickhouse.wire import ClickHouseError

_READS = re.compile(r"Select\w*|Show\w*|Describe\w*|Exists\w*|Explain|Check\w*Query|Set|UseQuery")
_PURGES = frozenset({"DELETE", "UPDATE", "DROP_PARTITION"})
_TABLE_FUNCTIONS = re.compile(
    r"numbers(_mt)?|zeros(_mt)?|primes|values|sqlstandardvalues|generate(random|_?series)|null|view(ifpermitted|explain)?"
    r"|format|input|merge|dictionary|mergetree(index|projection|textindex|codecblockcounts|analyzeindexes)"
)
_FUNCTIONS = re.compile(
    r"file|catboostevaluate|trap|executable|python|ai[a-z]+|llm\w*|getclienthttpheader|getserversetting|showcertificate"
)
_FUNCTIONS_BY_NAME = re.compile(r"merge|dictionary|dict[gihe]\w*|joinget\w*|hascolumnintable|mergetree\w+|view\w+")
_SETTINGS = re.compile(
    r"readonly|allow_ddl|\w*dialect\w*|implicit_\w+|additional_\w+|allow_introspection\w*|profile|format_schema\w*"
    r"|format_template\w*|\w*schema_registry\w*|\w*proxy\w*|ai_\w+|\w*_url|url_\w*|\w*_path|\w*_hosts?|\w*executable\w*"
    r"|storage_file\w*|engine_file\w*|user_defined\w*|udf\w*|parallel_replicas\w*|cluster_for_\w+|\w*promql\w*|http_allow\w*|allow_python\w*|webassembly\w*"
)
_SYSTEM_TABLES = re.compile(
    r"one|numbers(_mt)?|zeros(_mt)?|settings|functions|formats|data_type_families|build_options|time_zones"
    r"|contributors|licenses|keywords"
)
#: It starts its consumers while the directory is opened, before there is a server for them (chdb 4.4): that fails.
_ENGINES_NOT = frozenset({"kafka"})
_FINOPS_NOT = frozenset({"UseQuery", "Explain", "ShowProcesslistQuery"})
_OPEN_DATABASES = frozenset({"finops", "_temporary_and_external_tables"})


@dataclass(frozen=True)
class Node:
    """A line of `EXPLAIN AST`: how deep it stands, its class, and what follows on the line."""

    depth: int
    kind: str
    rest: str


def parse_ast(text: str) -> list[Node]:
    """The nodes of what `EXPLAIN AST` printed. A name holding a line break can only add nodes, never hide one."""
    nodes = []
    for line in text.splitlines():
        bare = line.lstrip(" ")
        kind, _, rest = bare.partition(" ")
        if kind:
            nodes.append(Node(len(line) - len(bare), kind, rest.strip()))
    return nodes


@dataclass(frozen=True)
class Asked:
    """What is judged: the text that will run, its tree, the file our own INTO OUTFILE names, the current database,
    the table functions the engine knows (lower case), and its databases."""

    text: bytes
    tree: list[Node]
    outfile: str | None = None
    database: str = "default"
    table_functions: frozenset[str] = frozenset()
    databases: frozenset[str] = frozenset()


def judge_engine(text: bytes) -> None:
    """Refuse, to admin too, a table after which the embedded engine cannot open its data directory again.

    Raises:
        ClickHouseError: 48.
    """
    found = [token for token in tokens(text) if token.text != b"="]
    for clause, engine in pairwise(found):
        if clause.keyword == b"ENGINE" and engine.name in _ENGINES_NOT:
            why = (
                "with such a table the embedded ClickHouse could not open its data again. `procurator sink` reads Kafka"
            )
            raise ClickHouseError(
                48, f"The table engine {engine.name.title()} is not offered: {why}", "NOT_IMPLEMENTED"
            )


def judge_settings(role: Role, names: Iterable[str]) -> None:
    """Refuse the settings of a request that a role may not change.

    Raises:
        ClickHouseError: 164 for `readonly` and 497 for the rest.
    """
    if role is Role.ADMIN:
        return
    for name in names:
        if _SETTINGS.fullmatch(name.lower()):
            raise _denied(f"the role {role} may not change the setting {name}")


def judge(role: Role, asked: Asked, *, get: bool = False) -> None:
    """Let a statement pass, or refuse it. `get` says that the request was a GET, which writes nothing for anyone.

    Raises:
        ClickHouseError: 164 (READONLY) for a write by who may only read, 497 (ACCESS_DENIED) otherwise.
    """
    _judge_verb(role, asked, get=get)
    if role is Role.ADMIN:
        return
    _judge_outfile(role, asked)
    _judge_functions(role, asked)
    _judge_hidden(role, asked)
    if role is Role.FINOPS:
        _judge_finops(asked)


def _denied(why: str) -> ClickHouseError:
    return ClickHouseError(497, f"Not enough privileges: {why}", "ACCESS_DENIED")


def _judge_verb(role: Role, asked: Asked, *, get: bool) -> None:
    root = asked.tree[0].kind if asked.tree else "nothing"
    if _READS.fullmatch(root):
        return
    if get:
        raise ClickHouseError(
            164,
            "Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly. "
            "You should use method POST for modifying queries",
            "READONLY",
        )
    if role is Role.ADMIN or (role is Role.WRITER and root == "InsertQuery"):
        return
    if role is Role.PURGER and _purges(root, asked):
        return
    if role in (Role.READER, Role.FINOPS):
        raise ClickHouseError(164, f"Cannot execute query in readonly mode: the role {role} only reads", "READONLY")
    raise _denied(f"the role {role} may not run {root.removesuffix('Query').upper()}")


def _purges(root: str, asked: Asked) -> bool:
    """Whether this removes rows of the database procurator, and does nothing else."""
    if root not in ("AlterQuery", "DeleteQuery", "UpdateQuery"):
        return False
    names = [node.rest for node in asked.tree if node.depth == 1 and node.kind == "Identifier"]
    database = names[0] if len(names) > 1 else asked.database
    commands = {node.rest.split(" ")[0] for node in asked.tree if node.kind == "AlterCommand"}
    return database == "procurator" and commands <= _PURGES


def _judge_outfile(role: Role, asked: Asked) -> None:
    words = [token.keyword for token in tokens(asked.text)]
    named = [node.rest for node in asked.tree if node.depth == 1 and node.kind == "Literal"]
    ours = 0 if asked.outfile is None else 1
    if asked.outfile is not None and named != [f"'{asked.outfile}'"]:
        raise _denied(f"the role {role} may not write files")
    if words.count(b"OUTFILE") > ours or b"INFILE" in words:
        raise _denied(f"the role {role} may not read or write files")


def _called(asked: Asked) -> Iterator[str]:
    """The names of all functions called, in lower case: those of the tree, and those that only the text shows."""
    for node in asked.tree:
        if node.kind == "Function" or node.kind.startswith("TableFunction"):
            yield node.rest.split(" ")[0].lower()
    found = list(tokens(asked.text))
    applies = any("Apply" in node.kind for node in asked.tree)
    for i, token in enumerate(found):
        call = i + 1 < len(found) and found[i + 1].text == b"("
        if token.name is not None and (call or applies):
            yield token.name


def _judge_functions(role: Role, asked: Asked) -> None:
    for name in _called(asked):
        if (name in asked.table_functions and not _TABLE_FUNCTIONS.fullmatch(name)) or _FUNCTIONS.fullmatch(name):
            raise _denied(f"the role {role} may not use the function {name}")


def _judge_hidden(role: Role, asked: Asked) -> None:
    if any(node.kind == "Set" for node in asked.tree):
        judge_settings(role, (token.name for token in tokens(asked.text) if token.name))


def _judge_finops(asked: Asked) -> None:
    """Only views of `finops`: no name of another database, no function that takes a table's name as a string."""
    if asked.database != "finops":
        raise _denied("the role finops works in the database finops")
    for name in _called(asked):
        if _FUNCTIONS_BY_NAME.fullmatch(name):
            raise _denied(f"the role finops may not use the function {name}")
    for node in asked.tree:
        if "Apply" in node.kind:
            raise _denied("the role finops may not use APPLY")
        if node.kind in _FINOPS_NOT or node.kind.startswith(("ShowCreate", "Check")):
            raise _denied(f"the role finops may not run {node.kind}")
        if node.kind in ("Identifier", "TableIdentifier"):
            _judge_name(asked, node.rest.split(" (alias")[0])


def _judge_name(asked: Asked, name: str) -> None:
    database, dot, rest = name.partition(".")
    if database.lower() == "system" and dot:
        if not _SYSTEM_TABLES.fullmatch(rest.partition(".")[0]):
            raise _denied(f"the role finops may not read {name}")
    elif database in asked.databases and database not in _OPEN_DATABASES:
        raise _denied(f"the role finops may not read the database {database}")
