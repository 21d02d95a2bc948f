"""Which sessions: the one filter that lists, facets, spend, exports, streams and the UI share. Pure."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from procurator.query_api.queries.base import Statement
from procurator.query_api.search.errors import SearchError
from procurator.query_api.search.fields import FIXED, MEASURES, Record
from procurator.query_api.search.terms import AnyOf, Compare, Is, LabelIs, Operator, ToolEnded
from procurator.query_api.search.text import Text

Term = AnyOf | LabelIs | ToolEnded | Compare | Is | Text

TERMS_MAX = 50
VALUES_MAX = 100
#: Each asks the events: more of them make a search slow.
EVENT_TERMS_MAX = 8


@dataclass(frozen=True)
class SessionFilter:
    """Sessions for which every term holds; without terms all of them. Raises SearchError when it cannot be meant."""

    terms: tuple[Term, ...] = ()

    def __post_init__(self) -> None:
        if len(self.terms) > TERMS_MAX:
            raise SearchError("q", f"a search has at most {TERMS_MAX} terms, this one {len(self.terms)}", "cost>0.5")
        if len(self.of_events) > EVENT_TERMS_MAX:
            raise SearchError(
                "q", f"a search has at most {EVENT_TERMS_MAX} words, phrases and tool statuses", '"refund policy"'
            )
        for name in MEASURES:
            self._check_range(name)

    def __and__(self, other: "SessionFilter") -> "SessionFilter":
        """Return the sessions in both."""
        return SessionFilter(self.terms + tuple(term for term in other.terms if term not in self.terms))

    def __bool__(self) -> bool:
        return bool(self.terms)

    @classmethod
    def of(cls, **names: str) -> Self:
        """Return the filter of exact values, as ``of(agent="billing")``; an unknown name is a KeyError."""
        return cls(tuple(AnyOf(name, (value,)) for name, value in names.items()))

    def conditions(self, statement: Statement) -> tuple[str, ...]:
        """Return the SQL conditions over the table ``sessions`` (read with FINAL), every value bound."""
        return tuple(term.condition(statement) for term in self.terms)

    def candidates(self, statement: Statement, rare: Collection[Text] = ()) -> tuple[str, ...]:
        """Return the conditions that are quick to judge: what the events show is left out, but for ``rare`` texts.

        Sessions in the filter meet them; of those that meet them, `of_events` tell which are in it.
        """
        shown = (term.condition(statement) for term in self.terms if not isinstance(term, Text | ToolEnded))
        called = (term for term in self.terms if isinstance(term, ToolEnded) and not term.negated)
        return (
            *shown,
            *(term.candidates(statement) for term in called),
            *(text.condition_by_words(statement) for text in rare),
        )

    @property
    def of_events(self) -> tuple[Text | ToolEnded, ...]:
        """The terms that only the events show, negated ones among them."""
        return tuple(term for term in self.terms if isinstance(term, Text | ToolEnded))

    @property
    def texts(self) -> tuple[Text, ...]:
        """The words and phrases that must be there: what a hit shows."""
        return tuple(term for term in self.terms if isinstance(term, Text) and not term.negated)

    def require_live(self) -> None:
        """Raise SearchError unless every term can be judged from a session's state alone."""
        if self.of_events:
            raise SearchError("q", "words and tool statuses cannot be watched, only searched", "agent:billing cost>0.5")

    def matches(self, record: Record, now: datetime) -> bool:
        """Tell whether a session is among those found, from its state's raw record (session_state.avsc).

        ``now`` decides what is stalled. Raises SearchError as `require_live`.
        """
        self.require_live()
        return all(term.matches(record, now) for term in self.terms if not isinstance(term, Text | ToolEnded))

    def may_have_matched(self, record: Record, now: datetime) -> bool:
        """Tell whether an earlier state of a session may have been found: not if what never changes rules it out."""
        fixed = (term for term in self.terms if isinstance(term, AnyOf) and term.field in FIXED)
        return all(term.matches(record, now) for term in fixed)

    def digest(self) -> str:
        """Return a fingerprint: the same for filters that ask the same in another order."""
        return hashlib.sha256(repr(sorted(map(repr, self.terms))).encode()).hexdigest()[:16]

    def _check_range(self, name: str) -> None:
        measure = MEASURES[name]
        bounds = [term for term in self.terms if isinstance(term, Compare) and term.field == name]
        lower: list[Any] = [term.value for term in bounds if term.operator in (Operator.ABOVE, Operator.FROM)]
        upper: list[Any] = [term.value for term in bounds if term.operator in (Operator.BELOW, Operator.TO)]
        if lower and upper and max(lower) > min(upper):
            raise SearchError(
                name,
                f"the range is upside down: from {measure.show(max(lower))} to {measure.show(min(upper))}",
                f"{name}>={measure.show(min(upper))} {name}<{measure.show(max(lower))}",
            )


#: No condition at all.
EVERYTHING = SessionFilter()
