"""IO: the state topic into the table ``sessions``, beside the ledger.

A row is replaced by one of a later state (migration 0010), so writing a state twice changes nothing. Where to read on
is said by the table: after the highest offset of the state topic that has a row.
"""

import logging
from time import monotonic

from confluent_kafka import Consumer, Message, TopicPartition

from procurator import metrics
from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.clickhouse import ClickHouse
from procurator.errors import Rejected, Unavailable
from procurator.kafka import Topics
from procurator.leaf import log_id
from procurator.registry import Registry
from procurator.runtime import Stop
from procurator.sink import arrow
from procurator.sink.positions import show_position
from procurator.sink.session_rows import StateRecord, session_columns
from procurator.topics import SESSION_STATE

_log = logging.getLogger(__name__)

_FETCH_MAX = 5_000
#: How long states are gathered: of a session's only the last is inserted. Longer where inserting takes long, so that it
#: takes a third of the time at most.
_FETCH_S = 0.1
_FETCH_S_MAX = 0.5
_FETCH_PER_INSERT = 2.0
_PAUSE_S = 1.0


class SessionTable:
    """Keeps ``sessions`` up to date with the partitions of the state topic that the group gives this process."""

    def __init__(
        self, consumer: Consumer, topics: Topics, registry: Registry, clickhouse: ClickHouse, stop: Stop
    ) -> None:
        self._consumer = consumer
        self._topics = topics
        self._clickhouse = clickhouse
        self._stop = stop
        self._decoder = Decoder(load_schema(SESSION_STATE.schema), registry.fetch)
        self._assigned: list[TopicPartition] = []
        self._must_open = False
        self._log_ids: dict[int, str] = {}

    # Insert, then commit. Dying in between repeats the insert, which changes nothing.
    def run(self) -> None:
        """Work until the stop is set. Raises Fatal or UserError when going on cannot help."""
        self._consumer.subscribe([SESSION_STATE.name], on_assign=self._on_assign)
        spent_s = 0.0
        try:
            while not self._stop.is_set():
                try:
                    if self._must_open:
                        self._open()
                    gather_s = min(max(_FETCH_S, _FETCH_PER_INSERT * spent_s), _FETCH_S_MAX)
                    messages = self._consumer.consume(_FETCH_MAX, gather_s)
                    begun_s = monotonic()
                    self._take(messages)
                    spent_s = monotonic() - begun_s
                except Unavailable as outage:
                    _log.warning("sessions: %s; pausing", outage)
                    self._consumer.assign([])
                    self._must_open = True
                    self._sit_out()
        finally:
            self._consumer.close()

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._assigned = partitions
        self._must_open = True
        consumer.assign([])

    def _open(self) -> None:
        described = self._topics.describe([SESSION_STATE.name]).get(SESSION_STATE.name)
        if described is None:
            raise Unavailable(f"topic {SESSION_STATE.name} is gone: run `procurator setup`")
        self._log_ids = {at.partition: log_id(described[0], at.partition) for at in self._assigned}
        rows = self._clickhouse.rows(
            "SELECT state_log_id, max(state_offset) + 1 FROM sessions"
            " WHERE state_log_id IN {log_ids:Array(String)} GROUP BY state_log_id",
            {"log_ids": list(self._log_ids.values())},
        )
        positions = {str(row[0]): int(row[1]) for row in rows}
        bounds = self._topics.bounds((at.topic, at.partition) for at in self._assigned)
        self._consumer.assign(
            [
                TopicPartition(topic, n, _start(positions.get(self._log_ids[n], 0), *bounds[topic, n]))
                for topic, n in bounds
            ]
        )
        self._must_open = False

    def _take(self, messages: list[Message]) -> None:
        # As in the compacted topic itself, the last record of a session is the one that counts.
        latest: dict[bytes | None, Message] = {}
        for message in messages:
            if (error := message.error()) is not None:
                raise Unavailable(f"Kafka: {error.str()}")
            latest[message.key()] = message
        records = [record for message in latest.values() if (record := self._record(message)) is not None]
        if records:
            columns = session_columns(records)
            self._clickhouse.insert("sessions", list(columns), arrow.ipc_stream(columns))
        if messages:
            metrics.count_batch(SESSION_STATE.name, len(messages))
            show_position(self._consumer, self._consumer.position(self._assigned))

    def _record(self, message: Message) -> StateRecord | None:
        value = message.value()
        if value is None:  # a session that was purged: its row goes with it, by the purger's hand
            return None
        try:
            state = self._decoder.decode(value)
        except Rejected as why:
            _log.warning("sessions: partition %d offset %d: %s", message.partition(), message.offset(), why)
            return None
        return StateRecord(state, value, self._log_ids[message.partition()], message.offset())

    def _sit_out(self) -> None:
        until_s = monotonic() + _PAUSE_S
        while not self._stop.is_set() and (left_s := until_s - monotonic()) > 0:
            self._consumer.consume(1, min(left_s, 0.2))


def _start(position: int, low: int, high: int) -> int:
    """Return where to read on: what compaction has removed was replaced by what still stands."""
    return max(position, low) if position <= high else low
