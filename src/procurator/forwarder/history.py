"""IO: what an endpoint has not had yet and the window no longer has: from Kafka, and from the ledger before that.

What the ledger was told to forget meanwhile is not read: Kafka has it for some days more. Only what is young is not
asked about, so that an endpoint that is a little behind does not wait for ClickHouse.

Each question borrows a reader for as long as it takes to read one chunk, never while anything is delivered: an
endpoint that is slow keeps no reader from another.
"""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from procurator.clickhouse import ClickHouse
from procurator.clock import now_us
from procurator.errors import Unavailable
from procurator.forwarder.entries import Entry, Parser
from procurator.forwarder.forgotten import without_forgotten
from procurator.forwarder.window import Chunk
from procurator.kafka import TIMEOUT_S, Place, Topics, consumer_config
from procurator.topics import AUDIT, SESSION_EVENTS
from procurator.webhooks.state import Entries

_READERS = 4
_RECORDS_MAX = 2_000
_BYTES_MAX = 2 * 1024 * 1024
_LEDGER_ROWS_MAX = 500
_BOUNDS_AGE_S = 30.0
_POLL_S = 1.0
_YOUNG_US = 600_000_000
_CONSUMER = {
    "enable.partition.eof": True,
    "fetch.wait.max.ms": 50,
    "queued.max.messages.kbytes": 8_192,
    "log_level": 0,
}
_TABLES = {SESSION_EVENTS.name: "events", AUDIT.name: "audit"}
#: Whole rows by the key in which they are stored, found by the projection that has their logs in order.
_ROWS = {
    "events": "(session_id, log_id, offset) IN (SELECT session_id, log_id, offset FROM events WHERE {where})",
    "audit": "{where}",
}


class History:
    """Reads logs from any position. Methods raise Unavailable while Kafka, registry or ClickHouse is away."""

    def __init__(
        self, bootstrap_servers: str, clickhouse: ClickHouse, parser: Parser, logs: Mapping[Place, str]
    ) -> None:
        self._topics = Topics(bootstrap_servers)
        self._clickhouse = clickhouse
        self._parser = parser
        self._places = {log_id: place for place, log_id in logs.items()}
        self._bounds: dict[Place, tuple[int, int]] = {}
        self._bounds_at_s = float("-inf")
        config = consumer_config(bootstrap_servers, "procurator-forward", **_CONSUMER)
        self._consumers = [Consumer(config) for _ in range(_READERS)]
        self._idle = list(self._consumers)
        self._threads = ThreadPoolExecutor(_READERS, "history")

    async def chunk(self, log_id: str, position: int) -> Chunk:
        """Return a chunk of a log that begins at ``position``: some megabytes at most; nothing only at its end."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._chunk, log_id, position)

    async def entries(self, pointers: Iterable[Entries]) -> list[Entry | None]:
        """Return the entries at these places, None for one that is no more (purged, or erased)."""
        found: list[Entry | None] = []
        for log_id, offsets in pointers:
            by_offset: dict[int, Entry] = {}
            position = offsets[0]
            while position <= offsets[-1] and log_id in self._places:
                chunk = await self.chunk(log_id, position)
                if chunk.end == position:  # Perhaps the end that is known is an old one; it is looked at anew.
                    raise Unavailable(f"log {log_id} ends at {position}, before an entry that was to be repeated")
                by_offset |= {entry.offset: entry for entry in chunk.since(position, _RECORDS_MAX)[0]}
                position = chunk.end
            found += [by_offset.get(offset) for offset in offsets]
        return found

    async def positions_at(self, time_us: int) -> dict[str, int]:
        """Return, of each log, the first position whose broker time is not before ``time_us``, or its end."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._positions_at, time_us)

    def close(self) -> None:
        """Let go of the readers."""
        self._threads.shutdown()
        for consumer in self._consumers:
            consumer.close()

    # --- in a thread of the pool: as many as readers, so there is always an idle one

    def _chunk(self, log_id: str, position: int) -> Chunk:
        place = self._places[log_id]
        start, end = self._known_bounds()[place]
        chunk = Chunk(position)
        if position < start:
            chunk.add(*self._from_ledger(log_id, place, position, start))
        elif position < end:
            entries, reached = self._from_kafka(log_id, place, position)
            chunk.add(self._without_forgotten(log_id, entries), reached)
        else:
            self._bounds_at_s = float("-inf")  # somebody knows of more than we do
        return chunk

    def _known_bounds(self) -> dict[Place, tuple[int, int]]:
        if time.monotonic() - self._bounds_at_s > _BOUNDS_AGE_S:
            self._bounds = self._topics.bounds(self._places.values())
            self._bounds_at_s = time.monotonic()
        return self._bounds

    def _from_kafka(self, log_id: str, place: Place, position: int) -> tuple[list[Entry], int]:
        consumer = self._idle.pop()
        try:
            consumer.assign([TopicPartition(*place, position)])
            entries: list[Entry] = []
            size = read = 0
            until_s = time.monotonic() + TIMEOUT_S
            while size < _BYTES_MAX and read < _RECORDS_MAX:
                message = consumer.poll(_POLL_S)
                if message is None:
                    if time.monotonic() > until_s:
                        raise Unavailable("Kafka does not answer")
                    continue
                if (error := message.error()) is not None:
                    if error.code() == KafkaError._PARTITION_EOF:
                        return entries, max(position, message.offset())
                    self._bounds_at_s = float("-inf")  # perhaps what we were to read is gone: look again
                    raise Unavailable(f"Kafka: {error.str()}")
                value, time_us = message.value(), message.timestamp()[1] * 1000
                entry = self._parser.entry(*place, log_id, message.offset(), time_us, value)
                entries += [entry] if entry is not None else []
                size, read, position = size + len(value or b""), read + 1, message.offset() + 1
            return entries, position
        except KafkaException as error:
            raise Unavailable(f"Kafka: {error.args[0].str()}") from error
        finally:
            consumer.unassign()
            self._idle.append(consumer)

    def _without_forgotten(self, log_id: str, entries: list[Entry]) -> list[Entry]:
        young_at_us = now_us() - _YOUNG_US
        # In a log the broker's times ascend.
        old = bisect_left(entries, young_at_us, key=lambda entry: entry.broker_time_us)
        return without_forgotten(self._clickhouse, log_id, entries[:old]) + entries[old:]

    def _from_ledger(self, log_id: str, place: Place, position: int, end: int) -> tuple[list[Entry], int]:
        """Return entries that Kafka has deleted; where the ledger has none, there are none any more."""
        table = _TABLES.get(place[0])
        if table is None:
            return [], end
        where = "log_id = {log_id:String} AND offset >= {first:UInt64} AND offset < {end:UInt64}"
        where += f" ORDER BY log_id, offset LIMIT {_LEDGER_ROWS_MAX}"
        rows = self._clickhouse.rows(
            f"SELECT offset, toUnixTimestamp64Micro(broker_time), hex(value) FROM {table}"
            f" WHERE {_ROWS[table].format(where=where)}" + ("" if table == "audit" else " ORDER BY log_id, offset"),
            {"log_id": log_id, "first": position, "end": end},
        )
        parse = self._parser.entry
        found = [parse(*place, log_id, offset, at_us, bytes.fromhex(value or "")) for offset, at_us, value in rows]
        reached = rows[-1][0] + 1 if len(rows) == _LEDGER_ROWS_MAX else end
        return [entry for entry in found if entry is not None], reached

    def _positions_at(self, time_us: int) -> dict[str, int]:
        self._bounds_at_s = float("-inf")
        bounds = self._known_bounds()
        asked = [TopicPartition(*place, time_us // 1000) for place in self._places.values()]
        consumer = self._idle.pop()
        try:
            answered = {(at.topic, at.partition): at.offset for at in consumer.offsets_for_times(asked, TIMEOUT_S)}
        except KafkaException as error:
            raise Unavailable(f"Kafka: {error.args[0].str()}") from error
        finally:
            self._idle.append(consumer)
        found = {
            log_id: answered[place] if answered[place] >= 0 else bounds[place][1]
            for log_id, place in self._places.items()
        }
        if any(bounds[place][0] > 0 and found[log_id] <= bounds[place][0] for log_id, place in self._places.items()):
            for log_id, offset in self._earliest_in_ledger(time_us):
                found[log_id] = min(offset, found.get(log_id, offset))
        return found

    def _earliest_in_ledger(self, time_us: int) -> list[list[Any]]:
        """Return each log's first offset that is not before a time, for what Kafka may have deleted of it."""
        since = "broker_time >= fromUnixTimestamp64Micro({time:Int64}) GROUP BY log_id"
        tables = (f"SELECT log_id, min(offset) FROM {table} WHERE {since}" for table in _TABLES.values())
        return self._clickhouse.rows(" UNION ALL ".join(tables), {"time": time_us})
