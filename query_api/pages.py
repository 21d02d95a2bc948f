"""Keyset pages: cursors, and where a page ends. Pure.

A cursor is opaque to its user: the key of the last item and a fingerprint of the query, so that it cannot be used
with other filters. It grants nothing: the scope of whoever sends it is applied as to any other request.
"""

import base64
import binascii
import dataclasses
import hashlib
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from procurator.errors import UserError
from procurator.query_api.queries.base import PAGE_BYTES_MAX, PageQuery, Row
from procurator.query_api.search.filter import SessionFilter

CURSOR_CHARS_MAX = 1024
#: Fields that differ between the pages of one list, or between those who read it.
_NOT_IDENTITY = {"scope", "limit", "after", "rare", "body_chars"}


class BadCursor(UserError):
    """The text is no cursor, or one of another list."""


def encode(query: PageQuery, key: tuple[str | int, ...]) -> str:
    """Return the cursor of the place after ``key`` in the list that ``query`` reads."""
    return base64.urlsafe_b64encode(orjson.dumps([_fingerprint(query), *key])).rstrip(b"=").decode()


def decode(query: PageQuery, cursor: str) -> tuple[Any, ...]:
    """Return the key in ``cursor``, typed as `PageQuery.key_type` says. Raises BadCursor."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        parts = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if not isinstance(parts, list) or not parts:
            raise BadCursor("this is not a cursor: pass next_cursor of the page before, unchanged")
        if parts[0] != _fingerprint(query):
            raise BadCursor("this cursor belongs to another list or other filters: start again without it")
        key: tuple[Any, ...] = TypeAdapter(tuple[query.key_type]).validate_python(tuple(parts[1:]))  # type: ignore[name-defined]
        return key
    except (UnicodeEncodeError, binascii.Error, orjson.JSONDecodeError, ValidationError) as error:
        raise BadCursor("this is not a cursor: pass next_cursor of the page before, unchanged") from error


def cut(query: PageQuery, rows: list[Row]) -> tuple[list[Row], str | None]:
    """Return the rows of the page and the cursor of the next one, None at the end.

    There is more when a row beyond the limit came, or when the page is full of bodies: then more is only likely.
    """
    page = rows[: query.limit]
    full = len(rows) > query.limit or sum(row.get("body_bytes", 0) for row in page) >= PAGE_BYTES_MAX
    return page, encode(query, query.key_of(page[-1])) if full else None


def _fingerprint(query: PageQuery) -> str:
    identity = {
        field.name: getattr(query, field.name) for field in dataclasses.fields(query) if field.name not in _NOT_IDENTITY
    }
    dumped = orjson.dumps([type(query).__name__, identity], _digest_of, orjson.OPT_PASSTHROUGH_DATACLASS)
    return hashlib.sha256(dumped).hexdigest()[:16]


def _digest_of(search: Any) -> str:
    """A filter stands in a fingerprint by its digest, so that the order of its terms does not matter."""
    if isinstance(search, SessionFilter):
        return search.digest()
    raise TypeError(f"{type(search).__name__} has no place in a cursor")
