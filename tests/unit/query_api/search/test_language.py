"""The query language: what it says, what it refuses, and that no text of a user ever stands in SQL."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procurator.access import Scope
from procurator.clock import from_us
from procurator.query_api.queries.base import Statement
from procurator.query_api.routes.filters import FilterParameters
from procurator.query_api.search import SearchError, SessionFilter, parse, render
from procurator.query_api.search.fields import CALL_STATUSES, MARKS, MEASURES, NAMES
from procurator.query_api.search.filter import TERMS_MAX
from procurator.query_api.search.language import QUERY_CHARS_MAX
from procurator.query_api.search.terms import AnyOf, Compare, Is, LabelIs, Operator, ToolEnded
from procurator.query_api.search.text import Text
from procurator.query_api.search.words import words

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
_WORDS = _TEXT.filter(words)
_VALUES = st.lists(_TEXT, min_size=1, max_size=3, unique=True).map(tuple)
_PLAIN_NAMES = [name for name, field in NAMES.items() if not field.choices and not field.is_uuid]
#: Up to the year 2199.
_TIMES = st.integers(0, 7_226_582_400_000_000 - 1).map(from_us)
_MEASURED = {
    "started": _TIMES,
    "completed": _TIMES,
    "cost": st.decimals(0, 10**6, places=18, allow_nan=False),
}
_COMPARES = st.sampled_from([*MEASURES]).flatmap(
    lambda name: st.builds(
        Compare, st.just(name), st.sampled_from(Operator), _MEASURED.get(name, st.integers(0, 10**12))
    )
)
_TERMS = st.one_of(
    st.builds(AnyOf, st.sampled_from(_PLAIN_NAMES), _VALUES, st.booleans()),
    st.builds(AnyOf, st.sampled_from(["id", "parent"]), st.uuids().map(lambda uuid: (str(uuid),)), st.booleans()),
    st.builds(LabelIs, _TEXT, _VALUES, st.booleans()),
    st.builds(ToolEnded, _TEXT, st.sampled_from([*CALL_STATUSES]).map(lambda status: (status,)), st.booleans()),
    _COMPARES,
    st.builds(Is, st.sampled_from([*MARKS]), st.booleans()),
    st.builds(Text, _WORDS, st.just(False), st.booleans()),
    st.builds(Text, st.sampled_from(["refund", "Rückerst", "退款"[:1]]), st.just(True), st.booleans()),
)


@st.composite
def _filters(draw: st.DrawFn) -> SessionFilter:
    terms = draw(st.lists(_TERMS, max_size=6))
    try:
        return SessionFilter(tuple(terms))
    except SearchError:  # a range that happens to be upside down
        return SessionFilter(tuple(term for term in terms if not isinstance(term, Compare)))


@given(_filters())
def test_what_is_rendered_parses_to_the_same_filter(search: SessionFilter) -> None:
    text = render(search)
    if len(text) <= QUERY_CHARS_MAX:
        assert parse(text) == search


@given(_filters())
def test_no_value_stands_in_the_sql(search: SessionFilter) -> None:
    statement = Statement(Scope.of_teams("acme", ["payments"]))
    sql = " ".join((*search.conditions(statement), *search.candidates(statement)))
    assert set(re.findall(r"\{(\w+):", sql)) <= set(statement.parameters)
    bare = re.sub(r"\{\w+:[\w()., ]+\}", "?", sql)
    assert re.fullmatch(r"[\w .,()\[\]'?<>=+\-!]*", bare), bare
    literals = set(re.findall(r"'([^']*)'", bare))
    assert literals <= {"RUNNING", "PENDING_APPROVAL", "ToolCallCompleted"}


@given(st.text(max_size=200))
def test_any_text_is_a_search_or_refused_with_an_example(text: str) -> None:
    try:
        search = parse(text)
    except SearchError as error:
        refused = str(error)
    else:
        assert parse(render(search)) == search
        return
    assert "for example" in refused


@given(_filters(), st.randoms())
def test_a_digest_does_not_depend_on_the_order(search: SessionFilter, random: object) -> None:
    shuffled = [*search.terms]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert SessionFilter(tuple(shuffled)).digest() == search.digest()


def test_a_search_with_everything() -> None:
    text = 'agent:billing cost>0.5 "refund policy" status:FAILED,timeout -word started>=2026-11-01 label:env=prod pol*'
    assert parse(text).terms == (
        AnyOf("agent", ("billing",)),
        Compare("cost", Operator.ABOVE, Decimal("0.5")),
        Text("refund policy"),
        AnyOf("status", ("FAILED", "TIMEOUT")),
        Text("word", negated=True),
        Compare("started", Operator.FROM, datetime(2026, 11, 1, tzinfo=UTC)),
        LabelIs("env", ("prod",)),
        Text("pol", prefix=True),
    )


def test_a_date_is_its_whole_day() -> None:
    first = datetime(2026, 11, 1, tzinfo=UTC)
    assert parse("started:2026-11-01").terms == (
        Compare("started", Operator.FROM, first),
        Compare("started", Operator.BELOW, first + timedelta(days=1)),
    )


def test_a_columns_name_is_a_fields_other_name() -> None:
    assert parse("agent_id:a owner_team_id:b total_tokens>5") == parse("agent:a owner_team:b tokens>5")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('"open', "the quote is never closed"),
        ('agent:"open', "the quote is never closed"),
        ("colour:red", "there is no field 'colour'; to search for the text put it in quotes"),
        ("http://example.com", "there is no field 'http'"),
        ("(a b)", "'(' has no place here: put text in quotes"),
        ("a=b", "'=' has no place here"),
        ("a OR b", "there is no OR"),
        ("agent:", "a value is missing at the end"),
        ("agent:a,", "a value is missing at the end"),
        ("agent:a,,b", "',' has no place here"),
        ("label:env=", "a value is missing at the end"),
        ("agent>3", "agent: its values have no order"),
        ("-cost>3", "cost: a comparison cannot be excluded"),
        ("cost>much", "cost: 'much' is not a number"),
        ("turns>1.5", "turns: '1.5' is not a whole number"),
        ("duration>5y", "duration: '5y' is not a duration"),
        ("started>2026-02-30", "started: '2026-02-30' is not a date or time"),
        ("started>9999-01-01", "lies outside the years 1970 to 2199"),
        ("status:DONE", "status: DONE: not one of COMPLETED"),
        ("tool:a=GOOD", "tool: GOOD: not one of CANCELLED"),
        ("id:1", "id: 1: not a session id"),
        ("is:red", "is: 'red' is not one of open"),
        ("cost>=2 cost<1", "the range is upside down: from 2 to 1"),
        ("re*", "a beginning has at least 3 letters"),
        ('"refund pol"*', "a beginning is of one word"),
        ('"—"', "has no letter or digit"),
        ("x" * (QUERY_CHARS_MAX + 1), f"at most {QUERY_CHARS_MAX} characters"),
        (" ".join(["is:open"] * (TERMS_MAX + 1)), f"at most {TERMS_MAX} terms"),
        ("a b c d e f g h i", "at most 8 words, phrases and tool statuses"),
        ("((((((((((" * 100, "has no place here"),
    ],
)
def test_what_is_wrong_is_said(text: str, message: str) -> None:
    with pytest.raises(SearchError, match=re.escape(message)):
        parse(text)


def test_every_field_is_a_parameter_too() -> None:
    bounds = {f"{name}_{bound}" for name, field in MEASURES.items() for bound in _bounds(field.is_time)}
    assert set(FilterParameters.model_fields) == {"q", *NAMES, *MARKS, *bounds}


def _bounds(is_time: bool) -> tuple[str, str]:
    return ("from", "to") if is_time else ("above", "below")


def test_parameters_and_language_are_one_filter() -> None:
    given = FilterParameters(
        q="agent:a", cost_above="0.5", label=["env=prod", "x"], unpriced=False, started_to="2026-01-01"
    )
    assert given.search() == parse("agent:a label:env=prod label:x started<2026-01-01 cost>0.5 -is:unpriced")
