"""The query language: ``agent:billing cost>0.5 "refund policy" -status:FAILED,TIMEOUT label:env=prod``. Pure.

::

    search := item*                          all of them must hold
    item   := "-"? ( names | text )          "-" excludes; not before a comparison
            | field (">" | ">=" | "<" | "<=") value
    names  := field ":" value ("," value)* | field ":" value "=" value ("," value)*
    text   := value "*"?                     a word, a phrase in quotes, a beginning
    value  := bare | '"' … '"'               in quotes, \\" and \\\\ stand for a quote and a backslash

It has no OR and no brackets, so no search is nested. `parse` and `render` are inverse: ``parse(render(f)) == f``.
"""

import re
from typing import Any, NamedTuple
from uuid import UUID

from procurator.query_api.search.errors import SearchError
from procurator.query_api.search.fields import ALIASES, CALL_STATUSES, KEYED, MARKS, MEASURES, NAMES
from procurator.query_api.search.filter import VALUES_MAX, SessionFilter, Term
from procurator.query_api.search.terms import AnyOf, Compare, Is, LabelIs, Operator, ToolEnded
from procurator.query_api.search.text import Text
from procurator.query_api.search.values import day

QUERY_CHARS_MAX = 2_000
VALUE_CHARS_MAX = 500
_EXAMPLE = 'q=agent:billing cost>0.5 "refund policy"'
_SPACE = re.compile(r"\s+")
_FIELD = re.compile(r"([A-Za-z_]+)(:|>=|<=|>|<)")
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
_ESCAPE = re.compile(r'\\(["\\])')
#: In a word everything that means something elsewhere must stand in quotes; a value may hold more.
_WORD = re.compile(r'[^\s"(),:<>=*\\-][^\s"(),:<>=*\\]*')
_VALUE = re.compile(r'[^\s"(),=*\\]+')
_RESERVED = frozenset({"OR", "AND", "NOT"})


class _Quoted(NamedTuple):
    text: str
    quoted: bool


def parse(text: str) -> SessionFilter:
    """Return the filter that ``text`` asks for; an empty text asks for all sessions. Raises SearchError."""
    if len(text) > QUERY_CHARS_MAX:
        raise SearchError("q", f"a search has at most {QUERY_CHARS_MAX} characters, this one {len(text)}", _EXAMPLE)
    return SessionFilter(tuple(_Parser(text).terms()))


def render(search: SessionFilter) -> str:
    """Return the text that `parse` makes the same filter of."""
    return " ".join(_shown(term) for term in search.terms)


def names_term(name: str, values: list[str], negated: bool = False) -> Term:
    """Return the term of a field and its values, as ``parse`` and the query parameters share it. Raises ValueError."""
    field, wanted = NAMES[name], tuple(dict.fromkeys(values))
    if len(wanted) > VALUES_MAX:
        raise ValueError(f"{len(wanted)} values are more than {VALUES_MAX}")
    if field.is_uuid:
        try:
            wanted = tuple(str(UUID(value)) for value in wanted)
        except ValueError:
            raise ValueError(f"{', '.join(wanted)}: not a session id") from None
    if field.choices:
        wanted = _choices(wanted, field.choices)
    return AnyOf(name, wanted, negated)


def keyed_term(name: str, key: str, values: list[str], negated: bool = False) -> Term:
    """Return the term ``label:key=value`` or ``tool:name=STATUS``. Raises ValueError."""
    if len(values) > VALUES_MAX:
        raise ValueError(f"{len(values)} values are more than {VALUES_MAX}")
    if name == "label":
        return LabelIs(key, tuple(dict.fromkeys(values)), negated)
    return ToolEnded(key, _choices(tuple(dict.fromkeys(values)), CALL_STATUSES), negated)


def compare_terms(name: str, operator: str, value: str) -> list[Term]:
    """Return the terms of a comparison; ``:`` is equality, of a date the whole day. Raises ValueError."""
    measure = MEASURES[name]
    if operator != ":":
        return [Compare(name, Operator(operator), measure.parse(value))]
    if measure.is_time and (whole := day(value)):
        return [Compare(name, Operator.FROM, whole[0]), Compare(name, Operator.BELOW, whole[1])]
    parsed = measure.parse(value)
    return [Compare(name, Operator.FROM, parsed), Compare(name, Operator.TO, parsed)]


def text_term(text: str, prefix: bool = False, negated: bool = False) -> Term:
    """Return the term of a word, a phrase or a beginning. Raises ValueError."""
    return Text(text, prefix, negated)


def field_named(name: str) -> str | None:
    """Return the field that answers to ``name``, or None."""
    name = ALIASES.get(name, name)
    return name if name in NAMES or name in MEASURES else None


def _choices(values: tuple[str, ...], choices: frozenset[str]) -> tuple[str, ...]:
    wanted = tuple(dict.fromkeys(value.upper() for value in values))
    if unknown := [value for value in wanted if value not in choices]:
        raise ValueError(f"{', '.join(unknown)}: not one of {', '.join(sorted(choices))}")
    return wanted


class _Parser:
    """One pass over the text, item by item; never goes back further than one token."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def terms(self) -> list[Term]:
        found: list[Term] = []
        while self._skip_space():
            found += self._item()
            if self._at < len(self._text) and not self._text[self._at].isspace():
                raise self._error(f"{self._text[self._at]!r} has no place here: put text in quotes")
        return found

    def _item(self) -> list[Term]:
        negated = self._take("-")
        match = _FIELD.match(self._text, self._at)
        if match is None:
            return [self._words(negated)]
        name, operator = match[1].lower(), match[2]
        if name == "is" and operator == ":":
            self._at = match.end()
            return [self._mark(negated)]
        field = field_named(name)
        if field is None:
            raise self._error(f"there is no field {match[1]!r}; to search for the text put it in quotes")
        self._at = match.end()
        try:
            if field in NAMES:
                return [self._names(field, operator, negated)]
            if negated:
                raise ValueError("a comparison cannot be excluded: turn it round")
            return compare_terms(field, operator, self._value().text)
        except ValueError as error:
            example = (NAMES.get(field) or MEASURES[field]).example
            raise SearchError("q", f"{field}: {error}", f"q={example}") from None

    def _names(self, field: str, operator: str, negated: bool) -> Term:
        if operator != ":":
            raise ValueError(f"its values have no order: use ':' in place of {operator!r}")
        key = self._value().text
        if field in KEYED and self._take("="):
            return keyed_term(field, key, self._values(self._value().text), negated)
        return names_term(field, self._values(key), negated)

    def _values(self, first: str) -> list[str]:
        values = [first]
        while self._take(","):
            values.append(self._value().text)
        return values

    def _mark(self, negated: bool) -> Term:
        mark = self._value().text.lower()
        if mark not in MARKS:
            raise SearchError("q", f"is: {mark!r} is not one of {', '.join(MARKS)}", "q=is:unpriced")
        return Is(mark, negated)

    def _words(self, negated: bool) -> Term:
        begin = self._at
        text, quoted = self._value(_WORD)
        prefix = self._take("*")
        if not quoted and not prefix and text in _RESERVED:
            self._at = begin
            raise self._error(f"there is no {text}: all terms must hold, '-' excludes, ',' stands between alternatives")
        try:
            return text_term(text, prefix, negated)
        except ValueError as error:
            raise SearchError("q", str(error), 'q="refund policy"') from None

    def _value(self, bare: re.Pattern[str] = _VALUE) -> _Quoted:
        quoted = _QUOTED.match(self._text, self._at)
        match = quoted or bare.match(self._text, self._at)
        if match is None:
            raise self._error(self._missing())
        self._at = match.end()
        value = _ESCAPE.sub(r"\1", quoted[1]) if quoted else match[0]
        if not value:
            raise self._error("nothing stands between the quotes")
        if len(value) > VALUE_CHARS_MAX:
            raise self._error(f"a value has at most {VALUE_CHARS_MAX} characters")
        return _Quoted(value, quoted is not None)

    def _missing(self) -> str:
        rest = self._text[self._at : self._at + 1]
        if rest == '"':
            return "the quote is never closed, or holds a backslash that is not doubled"
        return f"{rest!r} has no place here: put text in quotes" if rest else "a value is missing at the end"

    def _skip_space(self) -> bool:
        match = _SPACE.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return self._at < len(self._text)

    def _take(self, character: str) -> bool:
        taken = self._text.startswith(character, self._at)
        self._at += taken
        return taken

    def _error(self, message: str) -> SearchError:
        return SearchError("q", f"at character {self._at + 1}: {message}", _EXAMPLE)


def _shown(term: Term) -> str:
    if isinstance(term, Compare):
        measure: Any = MEASURES[term.field]
        return f"{term.field}{term.operator}{measure.show(term.value)}"
    minus = "-" if term.negated else ""
    match term:
        case Text(text, prefix):
            bare = _WORD.fullmatch(text) and (prefix or text not in _RESERVED)
            return f"{minus}{text if bare else _quote(text)}{'*' if prefix else ''}"
        case Is(mark):
            return f"{minus}is:{mark}"
        case AnyOf(name, values):
            return f"{minus}{name}:{_listed(values)}"
        case LabelIs(label, values):
            return f"{minus}label:{_listed((label,))}={_listed(values)}"
        case ToolEnded(tool, statuses):
            return f"{minus}tool:{_listed((tool,))}={_listed(statuses)}"


def _listed(values: tuple[str, ...]) -> str:
    return ",".join(value if _VALUE.fullmatch(value) else _quote(value) for value in values)


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
