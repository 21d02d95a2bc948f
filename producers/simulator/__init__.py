"""A simulated fleet: sessions of several companies' agents, of all origins and statuses, through the SDK.

`simulate` plays a number of sessions at once, dated over the past day, and says what it published; `simulate_live`
plays in real time until it is stopped. The same seed gives the same sessions, but for their ids.
"""

import asyncio
import random
import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import islice

from procurator.clock import now_us
from procurator.producers.client import Procurator
from procurator.producers.simulator.fleet import LOOPER, loops, plans
from procurator.producers.simulator.plan import Delegate, SessionPlan
from procurator.producers.simulator.player import US_PER_S, AtOnce, Played, RealTime, play

__all__ = ["LOOPER", "Played", "choose", "simulate", "simulate_live"]

#: The past over which sessions that are played at once are dated.
SPAN_S = 24 * 3600
#: One in so many of the sessions played at once is still open.
OPEN_EVERY = 25
#: An open session began at most so long ago.
OPEN_SINCE_S = 120
#: The looping agent starts again so long after it was stopped.
LOOP_EVERY_S = 30
_STOP_LOOK_S = 0.2


def choose(sessions: int, seed: int) -> list[SessionPlan]:
    """Return plans of exactly so many sessions, those started by others included. Pure."""
    rng = random.Random(seed)
    chosen: list[SessionPlan] = []
    left = sessions
    for number, plan in enumerate(plans(seed)):
        if left <= 0:
            break
        if plan.sessions > left:  # No room for the sessions that it would start.
            plan = replace(plan, steps=tuple(step for step in plan.steps if not isinstance(step, Delegate)))
        if number % OPEN_EVERY == OPEN_EVERY - 1 and plan.sessions == 1:
            plan = plan.left_open(rng)
        chosen.append(plan)
        left -= plan.sessions
    return chosen


def simulate(procurator: Procurator, sessions: int, seed: int = 0, clock: Callable[[], int] = now_us) -> list[Played]:
    """Publish exactly so many sessions as fast as possible; return what was published, once Kafka has confirmed it.

    Raises DeliveryFailed when Kafka does not confirm all. Each session is dated within the past 24 hours.
    """
    rng = random.Random(seed)
    played: list[Played] = []
    until_us = clock()

    async def play_all() -> None:
        for plan in choose(sessions, seed):
            ago_s = rng.uniform(5, OPEN_SINCE_S) if plan.ending.status is None else rng.uniform(OPEN_SINCE_S, SPAN_S)
            await play(procurator, plan, AtOnce(until_us - round(ago_s * US_PER_S)), played)

    asyncio.run(play_all())
    procurator.flush()
    return played


def simulate_live(
    procurator: Procurator,
    stop: threading.Event,
    *,
    seed: int = 0,
    speed: float = 1.0,
    concurrency: int = 8,
    sessions: int | None = None,
    looping: bool = False,
    clock: Callable[[], int] = now_us,
) -> list[Played]:
    """Play in real time (``speed`` times as fast), ``concurrency`` sessions at once, until ``stop`` is set.

    With ``sessions``, also until so many have been played. ``looping`` adds the agent `LOOPER`, which spends until a
    budget stops it, and again half a minute later. Sessions obey signals; those that are open when it stops end
    TERMINATED. Costs next to no processor time: a session waits most of its life.
    """
    pace = RealTime(clock, speed)
    played: list[Played] = []
    source = islice(plans(seed), sessions)

    async def worker() -> None:
        for plan in source:
            await play(procurator, plan, pace, played)
            if stop.is_set():
                return

    async def looper() -> None:
        for plan in loops(seed):
            await play(procurator, plan, pace, played)
            if stop.is_set():
                return
            await pace.wait(LOOP_EVERY_S)

    async def play_all() -> None:
        workers = [asyncio.create_task(worker()) for _ in range(concurrency)]
        workers += [asyncio.create_task(looper())] if looping else []
        pending = set(workers)
        while pending and not stop.is_set():
            done, pending = await asyncio.wait(pending, timeout=_STOP_LOOK_S)
            if any(task.exception() for task in done):
                stop.set()
        for task in workers:
            task.cancel()
        for outcome in await asyncio.gather(*workers, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome

    asyncio.run(play_all())
    procurator.flush()
    return played
