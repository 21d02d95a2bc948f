"""IO: from which offset on a log is read, when its partition is assigned."""

import logging
from collections.abc import Callable

from procurator.errors import Unavailable
from procurator.sink.inserter import Inserter
from procurator.sink.ledger import HEAD_AGE_US_MAX, Log, gap_before
from procurator.sink.store import LedgerStore, Reading

_log = logging.getLogger(__name__)

#: Longer than any writer may still be about to follow the head that we see.
_STILL_S = HEAD_AGE_US_MAX / 1_000_000 + 1.0


def open_log(
    store: LedgerStore,
    inserter: Inserter,
    log: Log,
    watermarks: Callable[[], tuple[int, int]],
    wait: Callable[[float], bool],
) -> Reading:
    """Return the head to go on from, what a crash left undone having been done.

    ``watermarks`` gives Kafka's first offset and its end. Where Kafka starts above the head, the offsets between are
    lost: once no other writer can still bring them, a gap is recorded. ``wait`` sleeps and returns True on a stop.
    Raises Fatal when Kafka ends below the head, Unavailable when a neighbour is away or a stop came.
    """
    reading = inserter.recover(store.table, log, store.read(log.log_id))
    while gap := gap_before(reading.head, *watermarks()):
        _log.error(
            "log %s (%s, partition %d): offsets %d to %d are gone from Kafka and not in the ledger",
            *(log.log_id, log.topic, log.partition, gap.first_offset, gap.next_offset - 1),
        )
        if wait(_STILL_S):
            raise Unavailable("stopped while waiting to record a gap")
        if store.read(log.log_id).head == reading.head:
            store.insert_gap(gap)
        reading = store.read(log.log_id)
    return reading
