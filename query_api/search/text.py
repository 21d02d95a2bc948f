"""Full text: words, phrases and prefixes over content, thinking and tool payloads. Pure."""

from dataclasses import dataclass

from procurator.query_api.queries.base import Statement

#: What is searched: the expression that the text index holds.
BODIES = ("lower(content)", "lower(thinking)")


@dataclass(frozen=True)
class Text:
    """Some record of the session holds the words, one after the other; ``prefix``: the last is only begun."""

    text: str
    prefix: bool = False
    negated: bool = False

    def found(self, statement: Statement) -> str:
        """Return the SQL over ``events``: the record holds it."""
        needle = statement.value("String", self.text.lower())
        return f"({' OR '.join(f'position({body}, {needle}) > 0' for body in BODIES)})"

    def condition(self, statement: Statement) -> str:
        """Return the SQL over ``sessions``."""
        found = f"session_id IN (SELECT session_id FROM {statement.rows('events', 'counted', self.found(statement))})"
        return f"NOT ({found})" if self.negated else f"({found})"
