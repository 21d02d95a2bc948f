"""IO: pages of sessions, and where in them stands what was searched.

A page is made from candidates, in the order of the list: rows that met the search when they were inserted. Of these
stay the sessions that hold what was searched, which their events tell, and that still are what was searched, which
their newest row tells. One round looks at a few candidates, the next ones at more, as long as the page is not full. A
page that ends with the last round is short, or empty, and yet has a successor: no session is passed over, and no
request is endless.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from procurator.access import Scope
from procurator.query_api import pages
from procurator.query_api.queries.base import Row
from procurator.query_api.queries.matches import HITS_MAX, RARE_RECORDS_MAX, Held, Hits, HowRare
from procurator.query_api.queries.sessions import ListSessions, ShownSessions
from procurator.query_api.search import SessionFilter
from procurator.query_api.search.snippets import hit_of
from procurator.query_api.search.text import Text
from procurator.query_api.store import Store

#: Candidates of each round: of searches that the sessions' own rows answer (pages of the limit), and of those that
#: events must be asked for.
_PAGES = (1, 4, 16)
_LOOKED_THROUGH = (100, 500)
#: Sessions that are asked at a time for what is shown of them, and for hits.
_SHOWN_AT_ONCE = 250
_AT_ONCE = 100
#: Characters of bodies that one answer's hits are looked for in, and of one body.
_CHARS_MAX = 6_000_000
_BODY_CHARS_MAX = 20_000


async def page(store: Store, query: ListSessions) -> tuple[list[Row], str | None]:
    """Return the rows of a page of sessions, with their ``hits``, and the cursor of the next one, None at the end."""
    listed = replace(query, rare=await _rare(store, query))
    found: dict[str, Row] = {}
    for size in _rounds(query):
        rows = await store.rows(replace(listed, limit=size))
        candidates = rows[:size]
        held = await _holding(store, query, candidates)
        taken = held[: query.limit - len(found)]
        for row in await _shown(store, query, taken):
            found.setdefault(row["session_id"], row)
        more = len(rows) > size
        last = taken[-1] if len(taken) < len(held) else candidates[-1] if more else None
        cursor = pages.encode(query, query.key_of(last)) if last else None
        if cursor is None or len(found) >= query.limit or len(taken) < len(held):
            break
        listed = replace(listed, after=pages.decode(query, cursor))
    return list(found.values()), cursor


async def _hits(store: Store, scope: Scope, search: SessionFilter, ids: tuple[str, ...]) -> dict[str, list[Any]]:
    """Return session id → its first hits, for the sessions ``ids``; none without a text in the search."""
    found: dict[str, list[Any]] = defaultdict(list)
    if not search.texts:
        return found
    chars = min(_BODY_CHARS_MAX, _CHARS_MAX // (HITS_MAX * len(ids)))
    for first in range(0, len(ids), _AT_ONCE):
        some = ids[first : first + _AT_ONCE]
        records = await store.rows(Hits(scope=scope, session_ids=some, texts=search.texts, chars=chars))
        # Off the event loop: folding texts to mark words in them takes a while.
        for hit in await asyncio.to_thread(lambda rows: [hit_of(row, search.texts) for row in rows], records):
            found[hit["session_id"]].append(hit)
    return found


def _rounds(query: ListSessions) -> Iterator[int]:
    """Yield how many candidates each round looks at."""
    yield from _LOOKED_THROUGH if query.search.of_events else (query.limit * pages for pages in _PAGES)


async def _rare(store: Store, query: ListSessions) -> tuple[Text, ...]:
    """Return the texts that the index is asked for as a whole."""
    texts = query.search.texts
    counted = await store.rows(HowRare(scope=query.scope, texts=texts)) if texts else []
    return tuple(texts[row["text"]] for row in counted if row["records"] < RARE_RECORDS_MAX)


async def _holding(store: Store, query: ListSessions, candidates: list[Row]) -> list[Row]:
    """Return the candidates whose events meet all that must be, and nothing that must not."""
    terms = query.search.of_events
    if not terms or not candidates:
        return candidates
    ids = tuple(dict.fromkeys(row["session_id"] for row in candidates))
    rows = await store.rows(Held(scope=query.scope, session_ids=ids, terms=terms))
    held = {(row["session_id"], row["term"]) for row in rows}
    return [
        row
        for row in candidates
        if all(term.negated is not ((row["session_id"], n) in held) for n, term in enumerate(terms))
    ]


async def _shown(store: Store, query: ListSessions, candidates: list[Row]) -> list[Row]:
    """Return what is shown of the candidates that are still what they were when they were inserted, with their hits.

    Some at a time: their ids and starts go into a URL.
    """
    shown: list[Row] = []
    for first in range(0, len(candidates), _SHOWN_AT_ONCE):
        shown += await _shown_at_once(store, query, candidates[first : first + _SHOWN_AT_ONCE])
    return shown


async def _shown_at_once(store: Store, query: ListSessions, candidates: list[Row]) -> list[Row]:
    ids = tuple(dict.fromkeys(row["session_id"] for row in candidates))
    starts = tuple({row["newest_first"] for row in candidates})
    rows, hits = await asyncio.gather(
        store.rows(ShownSessions(scope=query.scope, listed=query, session_ids=ids, starts=starts)),
        _hits(store, query.scope, query.search, ids),
    )
    shown = {query.key_of(row): {**row, "hits": hits[row["session_id"]]} for row in rows}
    return [shown[key] for key in map(query.key_of, candidates) if key in shown]
