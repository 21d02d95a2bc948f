"""Words that begin in some way: the text index knows them, so whoever runs a statement asks it first. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from procurator.query_api.queries.base import Parameters
from procurator.query_api.search.errors import SearchError

#: Words that one beginning may stand for.
WORDS_MAX = 1_000


@dataclass(frozen=True)
class WordsBegun:
    """Stands for a parameter's value (Array(String)): the words in the index of ``body`` that begin so.

    The engine takes the words to search for as constants alone, and of a subquery only in the outermost statement.
    """

    body: str
    beginning: str

    def to_sql(self) -> tuple[str, Parameters]:
        """Return the statement that lists the words (``token``), one row more than `WORDS_MAX` if they are too many.

        It reads the index's dictionary, of every organisation: the words are for the next statement, never for people.
        """
        return (
            f"SELECT DISTINCT token FROM words_of_{self.body}\n"
            f"WHERE startsWith(token, {{beginning:String}}) LIMIT {WORDS_MAX + 1}",
            {"beginning": self.beginning},
        )

    def checked(self, words: Iterable[str]) -> tuple[str, ...]:
        """Return the words. Raises SearchError when they are too many."""
        found = tuple(words)
        if len(found) > WORDS_MAX:
            message = f"more than {WORDS_MAX:,} words begin with {self.beginning!r}: write more of it"
            raise SearchError("q", message, "q=reimburse*")
        return found


def too_long(field: str, example: str) -> SearchError:
    """Return what to raise when a statement's words are beyond an HTTP client's 64 KiB: nothing else is so long."""
    message = "the words that begin so are too long together: write more of the beginnings"
    return SearchError(field, message, example)
