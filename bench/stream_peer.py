"""The peer of `bench stream`: QuixStreams keeps the same states by the same functions and publishes them alike.

Quix hands over one message at a time, and a message's effect has to be in its store when the function returns: so the
state is encoded with every message, as its changelog needs it. Decoding it every time is spared here: states stay
decoded in memory, which a real application would have to bound, and to drop in a rebalance.
"""

import sys
from time import monotonic
from typing import Any

from quixstreams import Application, State, message_context

from procurator import events
from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.avro_schemas.encoder import Encoder
from procurator.config import settings
from procurator.errors import Rejected
from procurator.event_cost import event_cost
from procurator.kafka import Topics
from procurator.leaf import log_id
from procurator.partitioner import partition_of
from procurator.price_feed import PriceFeed
from procurator.registry import Registry
from procurator.session_state import SessionState
from procurator.topics import SESSION_EVENTS

OUTPUT = "bench.peer.states"
_INTERVAL_S = 0.25


class Fold:
    """Folds a message into its session's state; returns the state's bytes when they are to be published, else None."""

    def __init__(self, bootstrap_servers: str, registry: Registry, prices: PriceFeed) -> None:
        topic_id, self._partitions = Topics(bootstrap_servers).describe([SESSION_EVENTS.name])[SESSION_EVENTS.name]
        self._logs = [log_id(topic_id, partition) for partition in range(self._partitions)]
        self._events = Decoder(load_schema("session_event"), registry.fetch)
        schema = load_schema("session_state")
        self._encoder = Encoder(schema, registry.schema_id(schema))
        self._states_decoder = Decoder(schema, registry.fetch)
        self._prices = prices
        self._states: dict[str, SessionState] = {}
        self._published: dict[str, tuple[str, float]] = {}

    def __call__(self, value: bytes, key: Any, timestamp_ms: int, headers: Any, store: State) -> bytes | None:
        context = message_context()
        try:
            event = events.parse(self._events, value)
        except Rejected:
            return None
        session_id = event["session_id"]
        if partition_of(session_id, self._partitions) != context.partition:
            return None
        state = self._states.get(session_id)
        if state is None:
            kept = store.get_bytes("state")
            record = None if kept is None else self._states_decoder.decode(kept)
            state = SessionState(session_id) if record is None else SessionState.from_record(record)
            self._states[session_id] = state
        time_us = timestamp_ms * 1000
        cost = event_cost(self._prices.book, event, time_us)
        state.apply(event, offset=context.offset, broker_time_us=time_us, cost=cost)
        encoded = self._encoder.encode(state.to_record(self._logs[context.partition]))
        store.set_bytes("state", encoded)
        now_s = monotonic()
        status, published_s = self._published.get(session_id, (state.status, now_s - _INTERVAL_S))
        if state.status == status and now_s - published_s < _INTERVAL_S:
            return None
        self._published[session_id] = state.status, now_s
        return encoded


def main(group_id: str) -> None:
    """Run until SIGTERM."""
    current = settings()
    bootstrap_servers = current.kafka_bootstrap_servers
    registry = Registry(current.schema_registry_url)
    app = Application(
        broker_address=bootstrap_servers,
        consumer_group=group_id,
        auto_offset_reset="earliest",
        commit_interval=1.0,
        state_dir=current.data_dir / "peer",
        producer_extra_config={"partitioner": "murmur2_random", "compression.type": "lz4", "linger.ms": 5},
        consumer_extra_config={"fetch.max.bytes": 64 * 1024 * 1024, "queued.min.messages": 100_000},
        processing_guarantee="at-least-once",
        use_changelog_topics=True,
    )
    with PriceFeed(bootstrap_servers, registry) as prices:
        source = app.topic(SESSION_EVENTS.name, key_deserializer="str", value_deserializer="bytes")
        target = app.topic(OUTPUT, key_serializer="str", value_serializer="bytes")
        frame = app.dataframe(source)
        frame = frame.apply(Fold(bootstrap_servers, registry, prices), stateful=True, metadata=True)
        frame[frame.apply(lambda value: value is not None)].to_topic(target)
        app.run()


if __name__ == "__main__":
    main(sys.argv[1])
