"""What only the texts of a few sessions show: whether they hold a phrase, and where what was searched stands."""

from dataclasses import dataclass

from procurator.query_api.queries.base import Query, Statement
from procurator.query_api.search.text import How, Text

#: Records shown of one session.
HITS_MAX = 3


@dataclass(frozen=True, kw_only=True)
class _InSessions(Query):
    """Records of some sessions that hold one of the texts, or for a phrase its words."""

    session_ids: tuple[str, ...]
    texts: tuple[Text, ...]

    def records(self, statement: Statement, how: How) -> str:
        among = f"session_id IN {statement.value('Array(UUID)', self.session_ids)}"
        held = " OR ".join(text.found(statement, how) for text in self.texts)
        return statement.rows("events", among, "counted", f"({held})")


@dataclass(frozen=True, kw_only=True)
class PhrasesHeld(_InSessions):
    """Of each session that has the words of some phrase: which of the phrases it holds, as 0 or 1 in their order."""

    def render(self, statement: Statement) -> str:
        held = ", ".join(f"max(ifNull({text.found(statement)}, 0))" for text in self.texts)
        records = self.records(statement, How.BY_ITS_WORDS)
        return f"SELECT session_id, [{held}] AS held\nFROM {records}\nGROUP BY session_id"


@dataclass(frozen=True, kw_only=True)
class Hits(_InSessions):
    """The first `HITS_MAX` records of each session that hold one of the texts, bodies cut after ``chars``."""

    chars: int

    def render(self, statement: Statement) -> str:
        chars = statement.bind("chars", "UInt32", self.chars)
        return (
            "SELECT session_id, log_id, offset, kind, turn_index, nullIf(tool_name, '') AS tool_name, tool_call_id,\n"
            f"  substringUTF8(events.content, 1, {chars}) AS content,\n"
            f"  substringUTF8(events.thinking, 1, {chars}) AS thinking\n"
            f"FROM {self.records(statement, How.EXACTLY)}\n"
            f"ORDER BY session_id, log_id, offset LIMIT {HITS_MAX} BY session_id"
        )
