"""IO: from which offsets on logs are read, when their partitions are assigned."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from procurator import metrics
from procurator.errors import Unavailable
from procurator.kafka import Bounds, Place
from procurator.sink.inserter import Inserter
from procurator.sink.ledger import HEAD_AGE_US_MAX, Gap, Log, gap_before
from procurator.sink.store import LedgerStore, Reading

_log = logging.getLogger(__name__)

#: Longer than any writer may still be about to follow the head that we see.
_STILL_S = HEAD_AGE_US_MAX / 1_000_000 + 1.0


class Opening(NamedTuple):
    """A log to be opened, and the table that has its entries."""

    log: Log
    store: LedgerStore


def open_logs(
    openings: Sequence[Opening],
    inserter: Inserter,
    bounds: Callable[[], Mapping[Place, Bounds]],
    wait: Callable[[float], bool],
) -> list[Reading]:
    """Return the head of each log to go on from, what a crash left undone having been done.

    Where Kafka starts above a head, the offsets between are lost: once no other writer can still bring them, a gap is
    recorded. ``bounds`` asks Kafka where all of the partitions start and end; ``wait`` sleeps and returns True on a
    stop. Raises Fatal when Kafka ends below a head, Unavailable when a neighbour is away or a stop came.
    """
    readings = [inserter.recover(o.store.table, o.log, o.store.read(o.log.log_id)) for o in openings]
    while any(gaps := _gaps(openings, readings, bounds())):
        if wait(_STILL_S):
            raise Unavailable("stopped while waiting to record a gap")
        for place, gap in enumerate(gaps):
            if gap is not None:
                readings[place] = _record(openings[place], gap)
    return readings


def _gaps(openings: Sequence[Opening], readings: Sequence[Reading], bounds: Mapping[Place, Bounds]) -> list[Gap | None]:
    return [
        _gap(opening.log, reading, bounds[opening.log.topic, opening.log.partition])
        for opening, reading in zip(openings, readings, strict=True)
    ]


def _gap(log: Log, reading: Reading, bounds: Bounds) -> Gap | None:
    gap = gap_before(reading.head, *bounds)
    if gap is not None:
        _log.error(
            "log %s (%s, partition %d): offsets %d to %d are gone from Kafka and not in the ledger",
            *(log.log_id, log.topic, log.partition, gap.first_offset, gap.next_offset - 1),
        )
    return gap


def _record(opening: Opening, gap: Gap) -> Reading:
    """Record a gap, if the head still is where it begins, and return the head read again."""
    store = opening.store
    if store.read(gap.log_id).head.next_offset == gap.first_offset:
        store.insert_gap(gap)
        metrics.LOST_OFFSETS.labels(opening.log.topic).inc(gap.next_offset - gap.first_offset)
    return store.read(gap.log_id)
