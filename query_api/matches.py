"""IO: pages of sessions found by their texts, and where in them what was searched stands.

Whether a session holds a phrase is only known once its texts are read. So a page goes through the candidates in the
order of the list, some at a time, and keeps those that do: as many as fill the page, of at most `CANDIDATES_MAX`. A
page that ends there is short, or empty, and yet has a successor: no session is passed over, and no request is endless.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from procurator.access import Scope
from procurator.query_api import pages
from procurator.query_api.queries.base import Row
from procurator.query_api.queries.matches import HITS_MAX, Hits, PhrasesHeld
from procurator.query_api.queries.sessions import ListSessions
from procurator.query_api.search import SessionFilter
from procurator.query_api.search.snippets import hit_of
from procurator.query_api.store import Store

#: Sessions whose texts are read for one page at most, and at a time.
CANDIDATES_MAX = 1_000
_AT_ONCE = 100
#: Characters of bodies that one answer's hits are looked for in, and of one body.
_CHARS_MAX = 6_000_000
_BODY_CHARS_MAX = 20_000


async def page(store: Store, query: ListSessions) -> tuple[list[Row], str | None]:
    """Return the rows of a page of sessions and the cursor of the next one, None at the end."""
    if not query.search.phrases:
        return pages.cut(query, await store.rows(query))
    found: list[Row] = []
    after = query.after
    for _ in range(0, CANDIDATES_MAX, _AT_ONCE):
        at_once = replace(query, limit=_AT_ONCE, after=after, candidates=True)
        candidates = await store.rows(at_once)
        batch = candidates[:_AT_ONCE]
        found += await _holding(store, query, batch)
        if len(found) > query.limit:
            return pages.cut(query, found)
        if len(candidates) <= _AT_ONCE:
            return found, None
        cursor = pages.encode(query, query.key_of(batch[-1]))
        after = pages.decode(query, cursor)
    return found, cursor


async def hits(store: Store, scope: Scope, search: SessionFilter, rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Return session id → its first hits, for the sessions in ``rows``; none without a text in the search."""
    if not search.texts or not rows:
        return {}
    chars = min(_BODY_CHARS_MAX, _CHARS_MAX // (HITS_MAX * len(rows)))
    found: dict[str, list[Any]] = defaultdict(list)
    ids = [row["session_id"] for row in rows]
    for first in range(0, len(ids), _AT_ONCE):
        some = tuple(ids[first : first + _AT_ONCE])
        records = await store.rows(Hits(scope=scope, session_ids=some, texts=search.texts, chars=chars))
        # Off the event loop: folding texts to mark words in them takes a while.
        for hit in await asyncio.to_thread(lambda rows: [hit_of(row, search.texts) for row in rows], records):
            found[hit["session_id"]].append(hit)
    return found


async def _holding(store: Store, query: ListSessions, batch: list[Row]) -> list[Row]:
    """Return the rows of ``batch`` whose sessions hold the phrases that they must, and none that they must not."""
    phrases = query.search.phrases
    ids = tuple(row["session_id"] for row in batch)
    asked = PhrasesHeld(scope=query.scope, session_ids=ids, texts=phrases)
    held = {(row["session_id"], row["phrase"]) for row in (await store.rows(asked) if ids else [])}
    return [
        row
        for row in batch
        if all(phrase.negated is not ((row["session_id"], n) in held) for n, phrase in enumerate(phrases))
    ]
