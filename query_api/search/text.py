"""Full text: words, phrases and beginnings over content, thinking and tool payloads. Pure.

The text index of ``events`` answers words and beginnings by itself. For a phrase it only says which records have all
its words; their text is then read to see whether they stand together. That is dear, and so is a word that half of the
records hold: a list asks both of its candidates alone, page by page (`procurator.query_api.matches`).
"""

from dataclasses import dataclass, field
from enum import Enum

from procurator.query_api.queries.base import Statement
from procurator.query_api.search.begun import WordsBegun
from procurator.query_api.search.words import words

#: Columns that are searched; each has an index of its own, ``<column>_text``.
BODIES = ("content", "thinking")
#: A shorter beginning would stand for too many words.
PREFIX_CHARS_MIN = 3


class How(Enum):
    """How exactly a record must hold a text."""

    EXACTLY = "hasPhrase"
    #: All its words, wherever they stand: a superset of the records that hold the phrase.
    BY_ITS_WORDS = "hasAllTokens"


@dataclass(frozen=True)
class Text:
    """Some record of the session holds the words, one after the other; ``prefix``: the word is only begun.

    Raises ValueError when there is nothing in it that could be found.
    """

    text: str
    prefix: bool = False
    negated: bool = False
    words: tuple[str, ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        found = tuple(words(self.text))
        object.__setattr__(self, "words", found)
        if not found:
            raise ValueError(f"{self.text!r} has no letter or digit to search for")
        if self.prefix and len(found) > 1:
            raise ValueError(f"{self.text!r}*: a beginning is of one word")
        if self.prefix and found[0].isascii() and len(found[0]) < PREFIX_CHARS_MIN:
            raise ValueError(f"{self.text}*: a beginning has at least {PREFIX_CHARS_MIN} letters")

    @property
    def is_phrase(self) -> bool:
        """Whether its words must stand one after the other."""
        return len(self.words) > 1

    def found(self, statement: Statement, how: How = How.EXACTLY) -> str:
        """Return the SQL over ``events``: the record holds it."""
        return f"({' OR '.join(self._held(statement, body, how) for body in BODIES)})"

    def records(self, statement: Statement, *among: str) -> str:
        """Return ``events WHERE …``: the records that hold it, of those that meet ``among``."""
        by_words = self.found(statement, How.BY_ITS_WORDS)
        exactly = (self.found(statement),) if self.is_phrase else ()
        return statement.rows("events", "counted", *exactly, first=(*among, by_words))

    def condition(self, statement: Statement) -> str:
        """Return the SQL over ``sessions``."""
        found = f"session_id IN (SELECT session_id FROM {self.records(statement)})"
        return f"NOT ({found})" if self.negated else f"({found})"

    def condition_by_words(self, statement: Statement) -> str:
        """Return SQL over ``sessions`` that a session in the search meets, and that no text is read for."""
        records = statement.rows("events", "counted", first=(self.found(statement, How.BY_ITS_WORDS),))
        return f"session_id IN (SELECT session_id FROM {records})"

    def _held(self, statement: Statement, body: str, how: How) -> str:
        if self.prefix:
            return f"hasAnyTokens({body}, {statement.value('Array(String)', WordsBegun(body, self.words[0]))})"
        function = how.value if self.is_phrase else How.BY_ITS_WORDS.value
        return f"{function}({body}, {statement.value('String', ' '.join(self.words))})"
