"""From the tables to what is live: what a purge takes away does not hold a list up, and who waits looks less often."""

import asyncio
from typing import cast

import pytest

from procurator.access import Scope
from procurator.query_api.live.follow import LOOK_EVERY_S, LOOK_S_MAX, Offsets, Position, catch_up
from procurator.query_api.live.past import ListPast, table_heads
from procurator.query_api.queries.base import Query, Row
from procurator.query_api.queries.live import StateHeads
from procurator.query_api.store import Store

LOG, OTHER = "state:0", "state:1"


class Tables:
    """A store whose table of sessions has one row a log: of the state at the offset before ``heads``."""

    def __init__(self, heads: Offsets) -> None:
        self.heads = heads

    async def rows(self, query: Query) -> list[Row]:
        if not isinstance(query, StateHeads):
            return []
        return [{"log_id": log, "next_offset": self.heads[log]} for log in query.logs if log in self.heads]


async def test_a_purge_of_the_last_state_does_not_hold_a_list_up() -> None:
    tables, reached = Tables({LOG: 12, OTHER: 5}), Offsets()
    store = cast(Store, tables)
    # The feed opens: its ring begins at the table's heads. Then the last sessions go, in one log all of them.
    starts = await table_heads(store, reached, (), (LOG, OTHER))
    assert starts == {LOG: 12, OTHER: 5}
    tables.heads = {LOG: 4}
    async with asyncio.timeout(1):
        past = ListPast(store, Scope.everywhere(), reached)
        assert [page async for page in catch_up(past, lambda: starts, {})] == [[]]


async def test_where_the_table_has_never_been_is_waited_for() -> None:
    tables = Tables({LOG: 12})
    past, looks = ListPast(cast(Store, tables), Scope.everywhere(), {"state:0 of a topic before": 99}), 0
    async with asyncio.timeout(5):
        async for _ in catch_up(past, lambda: {LOG: 14, OTHER: 0}, {}, look_every_s=0):
            looks += 1
            if looks == 3:
                tables.heads = {LOG: 14}
    assert looks > 3


class Forever:
    """A past that never comes to where the ring begins."""

    async def heads(self, starts: Offsets) -> Offsets:
        return {}

    async def page(self, position: Position) -> tuple[list[Row], bool]:
        return [], False


async def test_who_waits_for_long_looks_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    async for _ in catch_up(Forever(), lambda: {LOG: 1}, {}):
        if sum(pauses) > 60:
            break
    assert pauses[:10] == [LOOK_EVERY_S] * 10
    assert pauses == sorted(pauses)
    assert (pauses[-1], len(pauses) < 100) == (LOOK_S_MAX, True)
