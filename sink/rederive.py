"""What the sink would have written, for whoever verifies what stands in the tables. Pure.

The very projections of `procurator.sink.blocks`: verifier and sink cannot disagree about a rule.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import pyarrow as pa

from procurator import audit_events, control_entries, events
from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.leaf import parse_log_id
from procurator.pricing import PriceBook
from procurator.sink import arrow, rows
from procurator.sink.blocks import AuditProjection, EventProjection, Projection
from procurator.sink.control import ControlProjection
from procurator.sink.ledger import Log
from procurator.sink.records import Records
from procurator.sink.repeats import Repeats
from procurator.sink.rows import Columns
from procurator.topics import AUDIT, LEDGER_CONTROL, SESSION_EVENTS

#: The table of each ledgered topic.
TABLES = {SESSION_EVENTS.name: "events", AUDIT.name: "audit", LEDGER_CONTROL.name: "ledger_control"}
#: Sessions remembered at once: rows come session by session, so one would do.
_SESSIONS_MAX = 1_000

Ask = Callable[[str, Sequence[str]], Mapping[str, Mapping[str, Iterable[int]]]]


class Rederivation:
    """Derives the columns of one topic's entries from their bytes, the sessions one after the other.

    ``fetch_schema`` as a Decoder has it; ``topics``: log id → topic, of all logs of the ledger; ``ask``: (log id,
    session ids) → the sequence numbers of entries that stand before those derived here, by session and emitter.
    """

    def __init__(
        self,
        fetch_schema: Callable[[int], str],
        topics: Mapping[str, str],
        prices: PriceBook,
        ask: Ask = lambda _log, _sessions: {},
    ) -> None:
        self._fetch_schema = fetch_schema
        self._topics = topics
        self._prices = prices
        self._ask = ask
        self._projections: dict[str, tuple[Projection, list[int]]] = {}

    def __call__(
        self,
        log_id: str,
        offsets: Sequence[int],
        broker_times_us: Sequence[int],
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
    ) -> Columns:
        """Return every column but the entry's own (log, place, leaf, time, key, value)."""
        projection, calls = self._projections.get(log_id) or self._open(log_id)
        projected = projection.project(Records(list(offsets), list(broker_times_us), list(keys), list(values)))
        calls[0] += 1
        projection.landed(calls[0])
        reasons, messages = [""] * len(offsets), [""] * len(offsets)
        for index, why in projected.rejected.items():
            reasons[index], messages[index] = why.reason, rows.message_of(why)
        return {
            **projected.columns,
            "flags": arrow.lists(projected.flags),
            "rejected_reason": pa.array(reasons, pa.string()),
            "rejected_message": pa.array(messages, pa.string()),
        }

    def _open(self, log_id: str) -> tuple[Projection, list[int]]:
        topic = self._topics[log_id]
        topic_id, partition = parse_log_id(log_id)
        partitions = sum(1 for each in self._topics if parse_log_id(each)[0] == topic_id)
        log = Log(topic, partition, log_id, partitions)
        self._projections[log_id] = opened = (self._projection(log), [0])
        return opened

    def _projection(self, log: Log) -> Projection:
        if log.topic == SESSION_EVENTS.name:
            parse = partial(events.parse, Decoder(load_schema(SESSION_EVENTS.schema), self._fetch_schema))
            return EventProjection(
                log,
                parse,
                Repeats(lambda _offset, ids: self._ask(log.log_id, ids), _SESSIONS_MAX),
                lambda: self._prices,
            )
        if log.topic == AUDIT.name:
            return AuditProjection(partial(audit_events.parse, Decoder(load_schema(AUDIT.schema), self._fetch_schema)))
        decoder = Decoder(load_schema(LEDGER_CONTROL.schema), self._fetch_schema)
        return ControlProjection(partial(control_entries.parse, decoder))
