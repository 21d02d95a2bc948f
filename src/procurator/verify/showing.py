"""IO: what tampering looks like: one word is edited in a copy of the ledger, and the verifier finds it."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from procurator.clickhouse import ClickHouse
from procurator.errors import UserError

_WORD = re.compile(r"\b[a-z]{4,20}\b", re.ASCII)
_TABLES = ("events", "audit", "ledger_control", "ledger_gaps")
COPY = "procurator_edited_copy"


@dataclass(frozen=True)
class Edit:
    """What was changed: an event, and one word of it."""

    event_id: str
    before: str
    after: str


@contextmanager
def edited_copy(database: str, client: Callable[[str], ClickHouse]) -> "Iterator[tuple[ClickHouse, Edit]]":
    """Yield a copy of the ledger's tables (hard links), in which one word of a turn was edited, bytes and column.

    ``client`` connects to a database of the server by name. The copy is removed in the end. Raises UserError
    when the ledger has no turn with a word in it.
    """
    copy = client(COPY)
    try:
        copy.execute(f"DROP DATABASE IF EXISTS {COPY} SYNC", database="")
        copy.execute(f"CREATE DATABASE {COPY}", database="")
        for table in _TABLES:
            copy.execute(f"CREATE TABLE {COPY}.{table} CLONE AS {database}.{table}", database="")
        edit = _choose(copy)
        new = "replaceOne(assumeNotNull({0}), {{before:String}}, {{after:String}})"
        swap = ", ".join(f"{name} = {new.format(name)}" for name in ("value", "content"))
        copy.execute(
            f"ALTER TABLE events UPDATE {swap} WHERE event_id = {{event_id:UUID}} SETTINGS mutations_sync = 2",
            {"before": edit.before, "after": edit.after, "event_id": edit.event_id},
        )
        yield copy, edit
    finally:
        copy.execute(f"DROP DATABASE IF EXISTS {COPY} SYNC", database="")
        copy.close()


def _choose(clickhouse: ClickHouse) -> Edit:
    rows = clickhouse.rows(
        "SELECT toString(event_id), content FROM events WHERE kind = 'TurnRecorded' AND empty(flags)"
        " AND match(content, '[a-z]{4}') ORDER BY length(content) DESC, event_id LIMIT 100"
    )
    for event_id, content in rows:
        for word in _WORD.findall(content):
            if word != word[::-1]:
                return Edit(event_id, word, word[::-1])
    raise UserError("no turn with a word to edit is in the ledger yet")
