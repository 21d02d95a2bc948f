"""From the ledger's past to Kafka's present: every record once, in order, whatever the two are doing. Pure.

The ledger of a log is a prefix of it that grows; the ring holds a later piece of it, which moves. A listener reads
the ledger until that has come to where the ring begins, and takes the rest from the ring:

1. ask where the ledger ends, its *head*;
2. then read what the ledger has after the listener's place, to its end: at least all before that head;
3. if the ring begins at or before that head, nothing lies between the two: take from the ring what is after the
   listener's place, and be live, all without giving way to the feed in between. Else do it again.

A record that both have is after the listener's place but once. A feed that begins anew sends every listener back to 1.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Protocol, TypeVar

R = TypeVar("R")

#: Log id → the last offset that a listener has had of it.
Position = dict[str, int]
#: Log id → an offset: the first that the ring holds, or the first that the tables do not.
Offsets = dict[str, int]

LOOK_EVERY_S = 0.1
#: Who has waited for long looks less often, after a tenth of that time, but at least so often.
LOOK_S_MAX = 1.0


class Past(Protocol[R]):
    """The records of one listener that the tables hold."""

    async def heads(self, starts: Offsets) -> Offsets:
        """Return up to where the tables have every record of these logs, at least; ``starts`` is where to look."""

    async def page(self, position: Position) -> tuple[list[R], bool]:
        """Return the next records after ``position``, and whether there may be more."""


async def catch_up(
    past: Past[R], starts: Callable[[], Offsets | None], position: Position, look_every_s: float = LOOK_EVERY_S
) -> AsyncIterator[list[R]]:
    """Yield pages of the past; when it ends, the ring holds everything after ``position``, until the caller awaits.

    The caller moves ``position`` on over what it was given. ``starts`` is None while nothing is read from Kafka: then
    the past is all there is, and it is looked at again and again. An empty page says that it was.
    """
    waited_s = 0.0
    while True:
        begin = starts()
        heads = None if begin is None else await past.heads(begin)
        page, more = await past.page(position)
        yield page
        now = starts()
        if not more and heads is not None and now is not None and _meets(heads, now):
            return
        if page:
            waited_s = 0.0
            continue
        pause_s = max(look_every_s, min(waited_s / 10, LOOK_S_MAX))
        await asyncio.sleep(pause_s)
        waited_s += pause_s


def _meets(heads: Offsets, starts: Offsets) -> bool:
    return all(heads.get(log_id, 0) >= start for log_id, start in starts.items())
