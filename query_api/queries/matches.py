"""What only the texts of a few sessions show: whether they hold a phrase, and where what was searched stands."""

from dataclasses import dataclass

from procurator.query_api.queries.base import Query, Statement
from procurator.query_api.search.text import Text

#: Records shown of one session.
HITS_MAX = 3


@dataclass(frozen=True, kw_only=True)
class _InSessions(Query):
    """Records of some sessions that hold one of the texts."""

    session_ids: tuple[str, ...]
    texts: tuple[Text, ...]

    def records(self, statement: Statement, *texts: Text) -> str:
        among = f"session_id IN {statement.value('Array(UUID)', self.session_ids)}"
        held = " OR ".join(text.found(statement) for text in texts)
        return statement.rows("events", among, "counted", f"({held})")


@dataclass(frozen=True, kw_only=True)
class PhrasesHeld(_InSessions):
    """Rows of session and the number of a phrase in ``texts`` that it holds."""

    def render(self, statement: Statement) -> str:
        # Each in a WHERE: only there the index's rule of what a word is applies to the texts.
        return "\nUNION ALL\n".join(
            f"SELECT DISTINCT session_id, {number} AS phrase FROM {self.records(statement, text)}"
            for number, text in enumerate(self.texts)
        )


@dataclass(frozen=True, kw_only=True)
class Hits(_InSessions):
    """The first `HITS_MAX` records of each session that hold one of the texts, bodies cut after ``chars``."""

    chars: int

    def render(self, statement: Statement) -> str:
        chars = statement.bind("chars", "UInt32", self.chars)
        # Under other names than the columns': the condition would take the cut text, which no index knows.
        return (
            "SELECT session_id, log_id, offset, kind, turn_index, nullIf(tool_name, '') AS tool_name, tool_call_id,\n"
            f"  substringUTF8(events.content, 1, {chars}) AS of_content,\n"
            f"  substringUTF8(events.thinking, 1, {chars}) AS of_thinking\n"
            f"FROM {self.records(statement, *self.texts)}\n"
            f"ORDER BY session_id, log_id, offset LIMIT {HITS_MAX} BY session_id"
        )
