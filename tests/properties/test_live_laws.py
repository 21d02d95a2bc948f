"""A listener gets each record of its session once and in order, however ledger, Kafka, rings, cuts and crashes fall.

The ledger and the feed are models with a schedule of their own: one log, of which the ledger holds a prefix, the ring
a window. The hub, its rings and listeners, and the way from one to the other are the real ones.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from procurator.query_api.live.follow import Offsets, Position, catch_up
from procurator.query_api.live.hub import Hub
from procurator.query_api.live.listeners import LISTENER_POLICY, Dropped, ListenerPolicy
from procurator.query_api.live.records import DELTA, EVENT, STATE, LiveRecord

LOG = "log:0"
MINE, OTHER = "mine", "other"


def record(offset: int, session_id: str) -> LiveRecord:
    return LiveRecord(EVENT, 0, LOG, offset, 0, None, b"x" * 10, session_id)


@dataclass
class World:
    """Kafka's log (offset → session; holes are offsets that no record has), and what others have seen of it."""

    log: dict[int, str] = field(default_factory=dict)
    end: int = 0
    in_ledger: int = 0
    fed: int = 0
    policy: ListenerPolicy = LISTENER_POLICY
    hub: Hub = field(init=False)

    def __post_init__(self) -> None:
        # Room for two records.
        self.hub = Hub(lambda _: None, self.policy, {EVENT: 20, STATE: 20, DELTA: 20})

    def do(self, action: str) -> None:
        match action:
            case "mine" | "other":
                self.log[self.end] = action
                self.end += 1
            case "hole":
                self.end += 1
            case "sink":
                later = [offset for offset in self.log if offset >= self.in_ledger]
                self.in_ledger = min(later, default=self.in_ledger - 1) + 1
            case "feed":
                if self.hub.partitions is not None:
                    later = [offset for offset in self.log if offset >= self.fed]
                    if later:
                        self.fed = min(later) + 1
                        self.hub.take([record(min(later), self.log[min(later)])])
            case "begin" | "begin late":
                # The feed begins where the tables end, or further on when that is too far back.
                self.fed = self.in_ledger if action == "begin" else max(self.in_ledger, self.end - 1)
                starts = {EVENT: {0: (LOG, self.fed)}, STATE: {0: ("s:0", 0)}, DELTA: {0: ("d:0", 0)}}
                self.hub.begin(starts)

    @property
    def mine(self) -> list[int]:
        return sorted(offset for offset, session_id in self.log.items() if session_id == MINE)


@dataclass
class Past:
    """The model's ledger; other things happen whenever it is asked."""

    world: World
    happenings: "Happenings"

    async def heads(self, starts: Offsets) -> Offsets:
        await self.happenings.some()
        return {LOG: self.world.in_ledger}

    async def page(self, position: Position) -> tuple[list[int], bool]:
        await self.happenings.some()
        after = position.get(LOG, -1)
        rows = [offset for offset in self.world.mine if after < offset < self.world.in_ledger]
        return rows[:2], len(rows) > 2


SETTLE = ["sink", "feed"] * 3
#: Rounds after everything has happened: enough to be given all of it, and for a repeat to show.
REST = 200


class Done(Exception):
    """Everything has happened, and there was time to give it."""


@dataclass
class Happenings:
    """A script of what the others do, a few steps whenever the listener gives way; in the end everything arrives."""

    world: World
    script: list[list[str]]
    given: list[int] = field(default_factory=list)
    rest: int = REST

    async def some(self) -> None:
        await asyncio.sleep(0)
        if self.script:
            actions = self.script.pop(0)
        else:
            actions = ["begin"] if self.world.hub.partitions is None else SETTLE
            self.rest -= 1
        if self.rest < 0:
            raise Done
        for action in actions:
            self.world.do(action)


async def listen(world: World, position: Position, happenings: Happenings) -> AsyncIterator[int]:
    """What `SessionStream` does, without its frames."""
    past = Past(world, happenings)
    with world.hub.listening(MINE) as listener:
        while True:
            async for page in catch_up(past, lambda: world.hub.start(EVENT), position, look_every_s=0):
                for offset in page:
                    position[LOG] = offset
                    yield offset
            listener.join(world.hub.recent(EVENT, MINE))
            read_to = world.hub.places(EVENT)[LOG]
            while listener.is_live:
                await happenings.some()
                fresh = [taken.offset for taken in listener.take() if taken.offset > position.get(LOG, -1)]
                position[LOG] = max(position.get(LOG, -1), *fresh, -1)
                if listener.is_live:
                    position[LOG] = max(position[LOG], read_to)
                for offset in fresh:
                    yield offset


async def listen_with_cuts(world: World, happenings: Happenings, cuts: list[int]) -> None:
    """Listen, cut the connection after so many records, and go on from the last one that came; then to the end."""
    given = happenings.given
    for cut in [*cuts, None]:
        stream = listen(world, {LOG: given[-1]} if given else {}, happenings)
        try:
            async with asyncio.timeout(20):
                first = len(given)
                while cut is None or len(given) < first + cut:
                    given.append(await anext(stream))
        except (Done, Dropped) as end:
            if isinstance(end, Done):
                return
        finally:
            await stream.aclose()  # type: ignore[attr-defined]
    raise AssertionError("the last listener was dropped")


BEFORE = st.lists(st.sampled_from(["mine", "other", "hole", "sink"]), max_size=20)
STEPS = st.sampled_from(["mine", "mine", "other", "hole", "sink", "feed", "feed", "begin", "begin late"])
SCRIPT = st.lists(st.lists(STEPS, max_size=6), max_size=25)
CUTS = st.lists(st.integers(1, 4), max_size=4)


@given(before=BEFORE, script=SCRIPT, cuts=CUTS)
@settings(max_examples=400, deadline=None)
def test_any_interleaving_and_any_cuts_give_each_record_once_and_in_order(
    before: list[str], script: list[list[str]], cuts: list[int]
) -> None:
    world = World()
    for action in before:
        world.do(action)
    happenings = Happenings(world, script)
    asyncio.run(listen_with_cuts(world, happenings, cuts))
    assert happenings.given == world.mine


@given(before=BEFORE, script=SCRIPT)
@settings(max_examples=200, deadline=None)
def test_a_listener_that_is_dropped_for_being_slow_loses_nothing_when_it_resumes(
    before: list[str], script: list[list[str]]
) -> None:
    world = World(policy=ListenerPolicy(records_max=1))
    for action in before:
        world.do(action)
    happenings = Happenings(world, script)
    # Each connection may be dropped once for every record that comes.
    asyncio.run(listen_with_cuts(world, happenings, [10**9] * 200))
    assert happenings.given == world.mine
