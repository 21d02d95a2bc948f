"""Cursors and the ends of pages."""

import base64
from dataclasses import replace
from decimal import Decimal
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from procurator.access import Scope
from procurator.query_api.pages import BadCursor, cut, decode, encode
from procurator.query_api.queries.base import PAGE_BYTES_MAX
from procurator.query_api.queries.sessions import ListSessions, Sort
from procurator.query_api.queries.turns import ListTurns
from procurator.query_api.search import parse

_ID = UUID("0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d")
_SESSIONS = ListSessions(scope=Scope.everywhere(), limit=2)
_TURNS = ListTurns(scope=Scope.everywhere(), session_id=_ID, limit=2)


def test_a_cursor_gives_back_its_key_typed() -> None:
    cursor = encode(_SESSIONS, ("0.000000000000000001", str(_ID)))
    assert decode(_SESSIONS, cursor) == (Decimal(1).scaleb(-18), _ID)


def test_a_cursor_is_of_its_filters_and_order_whatever_order_the_filters_are_given_in() -> None:
    found = replace(_SESSIONS, search=parse("agent:a cost>1"))
    cursor = encode(found, ("5", str(_ID)))
    assert decode(replace(found, search=parse("cost>1 agent:a")), cursor) == (Decimal(5), _ID)
    for other in (_SESSIONS, replace(found, search=parse("agent:a cost>2")), replace(found, sort=Sort.COST)):
        with pytest.raises(BadCursor, match="belongs to another list or other filters"):
            decode(other, cursor)


@given(st.integers(0, 2**32 - 1), st.text(max_size=50), st.integers(0, 2**63))
def test_any_key_survives(turn_index: int, log_id: str, offset: int) -> None:
    key = (turn_index, log_id, offset)
    assert decode(_TURNS, encode(_TURNS, key)) == key


def test_a_cursor_is_of_one_list_whatever_the_page_size_and_the_reader() -> None:
    cursor = encode(_TURNS, (0, "log:1", 5))
    assert decode(replace(_TURNS, limit=7, scope=Scope.of_organisation("acme")), cursor) == (0, "log:1", 5)
    for other in (replace(_TURNS, session_id=UUID(int=1)), _SESSIONS):
        with pytest.raises(BadCursor, match="belongs to another list or other filters"):
            decode(other, cursor)


@pytest.mark.parametrize("text", ["", "%", "ä", "e30", "W10", "bnVsbA", "A" * 1000, "\0", "WyI=", "////"])
def test_what_is_no_cursor_is_named_as_such(text: str) -> None:
    with pytest.raises(BadCursor, match="cursor"):
        decode(_TURNS, text)


@pytest.mark.parametrize(
    "key", [[], ["x"], ["1"], ["now", str(_ID)], ["1e99", str(_ID)], ["NaN", str(_ID)], [1, 2, 3], [None, None]]
)
def test_a_key_of_another_shape_is_refused(key: list[object]) -> None:
    fingerprint = orjson.loads(base64.b64decode(encode(_SESSIONS, ()) + "=="))[0]
    forged = base64.urlsafe_b64encode(orjson.dumps([fingerprint, *key])).decode()
    with pytest.raises(BadCursor, match="this is not a cursor"):
        decode(_SESSIONS, forged)


def _rows(*sizes: int) -> list[dict[str, object]]:
    return [{"turn_index": i, "log_id": "log:1", "offset": i, "body_bytes": size} for i, size in enumerate(sizes)]


def test_the_last_page_has_no_cursor() -> None:
    assert cut(_TURNS, _rows(1, 1)) == (_rows(1, 1), None)
    assert cut(_TURNS, []) == ([], None)


def test_a_row_beyond_the_limit_means_more() -> None:
    page, cursor = cut(_TURNS, _rows(1, 1, 1))
    assert page == _rows(1, 1)
    assert cursor is not None
    assert decode(_TURNS, cursor) == (1, "log:1", 1)


def test_a_page_full_of_bodies_ends_early() -> None:
    page, cursor = cut(_TURNS, _rows(PAGE_BYTES_MAX))
    assert len(page) == 1
    assert cursor is not None
