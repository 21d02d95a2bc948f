"""What only the texts of a few sessions show: whether they hold a phrase, and where what was searched stands."""

from dataclasses import dataclass

from procurator.query_api.queries.base import Query, Statement
from procurator.query_api.search.terms import ToolEnded
from procurator.query_api.search.text import How, Text

#: Records shown of one session.
HITS_MAX = 3
#: A text that fewer records hold is rare: it is quicker to ask for all of them than to look through candidates.
RARE_RECORDS_MAX = 20_000


@dataclass(frozen=True, kw_only=True)
class HowRare(Query):
    """Rows of the number of a text in ``texts`` and how many records hold its words, `RARE_RECORDS_MAX` at most."""

    texts: tuple[Text, ...]

    def render(self, statement: Statement) -> str:
        held = (statement.rows("events", text.found(statement, How.BY_ITS_WORDS)) for text in self.texts)
        return "\nUNION ALL\n".join(
            f"SELECT {number} AS text, count() AS records FROM (SELECT 1 FROM {records} LIMIT {RARE_RECORDS_MAX})"
            for number, records in enumerate(held)
        )


@dataclass(frozen=True, kw_only=True)
class _InSessions(Query):
    """Some sessions' records."""

    session_ids: tuple[str, ...]

    def among(self, statement: Statement) -> str:
        return f"session_id IN {statement.bind('session_ids', 'Array(UUID)', self.session_ids)}"


@dataclass(frozen=True, kw_only=True)
class Held(_InSessions):
    """Rows of session and the number of a term in ``terms`` that some record of it meets."""

    terms: tuple[Text | ToolEnded, ...]

    def render(self, statement: Statement) -> str:
        # Each in conditions of its own: only there the index's rule of what a word is applies to the texts.
        return "\nUNION ALL\n".join(
            f"SELECT DISTINCT session_id, {number} AS term FROM {term.records(statement, self.among(statement))}"
            for number, term in enumerate(self.terms)
        )


@dataclass(frozen=True, kw_only=True)
class Hits(_InSessions):
    """The first `HITS_MAX` records of each session that hold one of the texts, bodies cut after ``chars``."""

    texts: tuple[Text, ...]
    chars: int

    def render(self, statement: Statement) -> str:
        chars = statement.bind("chars", "UInt32", self.chars)
        by_words = " OR ".join(text.found(statement, How.BY_ITS_WORDS) for text in self.texts)
        exactly = " OR ".join(text.found(statement) for text in self.texts)
        records = statement.rows("events", "counted", f"({exactly})", first=(self.among(statement), f"({by_words})"))
        # Under other names than the columns': the condition would take the cut text, which no index knows.
        return (
            "SELECT session_id, log_id, offset, kind, turn_index, nullIf(tool_name, '') AS tool_name, tool_call_id,\n"
            f"  substringUTF8(events.content, 1, {chars}) AS of_content,\n"
            f"  substringUTF8(events.thinking, 1, {chars}) AS of_thinking\n"
            f"FROM {records}\n"
            f"ORDER BY session_id, log_id, offset LIMIT {HITS_MAX} BY session_id"
        )
