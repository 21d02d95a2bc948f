"""Records of Kafka as entries to be delivered: decoded once for all endpoints. Pure but for schemas."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from procurator import audit_events, events
from procurator.avro_json import Convert, converter
from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.errors import Rejected
from procurator.forwarder.formats import Piece
from procurator.partitioner import partition_of
from procurator.topics import AUDIT, CHECKPOINTS, SESSION_EVENTS
from procurator.webhooks.endpoint import AUDIT_EVENT, CHECKPOINT, Format, Subject

#: What is read for webhooks.
SOURCES = (SESSION_EVENTS, AUDIT, CHECKPOINTS)


@dataclass(slots=True, eq=False)
class Entry:
    """One record that may be delivered. ``event`` makes JSON values of it; ``pieces`` has what was written already.

    ``session_id``: of a session's event.
    """

    log_id: str
    offset: int
    broker_time_us: int
    size_bytes: int
    subject: Subject
    event: Callable[[], dict[str, Any]]
    session_id: str | None = None
    pieces: dict[Format, Piece] = field(default_factory=dict)


class Parser:
    """Makes entries of records. ``partitions`` is the events topic's number of partitions."""

    def __init__(self, fetch_schema: Callable[[int], str], partitions: int) -> None:
        schemas = {topic.name: load_schema(topic.schema) for topic in SOURCES}
        self._decoders = {name: Decoder(schema, fetch_schema) for name, schema in schemas.items()}
        self._to_json: dict[str, Convert] = {name: converter(schema.text) for name, schema in schemas.items()}
        self._partitions = partitions

    def entry(
        self, topic: str, partition: int, log_id: str, offset: int, broker_time_us: int, value: bytes | None
    ) -> Entry | None:
        """Return the entry in a record; None for one that counts nowhere: it cannot be read, or stands elsewhere.

        Raises Unavailable while the registry is away and the schema has not been met before.
        """
        try:
            record, subject = self._read(topic, partition, value)
        except Rejected:
            return None
        event = partial(self._to_json[topic], record)
        session_id = record["session_id"] if topic == SESSION_EVENTS.name else None
        return Entry(log_id, offset, broker_time_us, len(value or b""), subject, event, session_id)

    def _read(self, topic: str, partition: int, value: bytes | None) -> tuple[dict[str, Any], Subject]:
        decoder = self._decoders[topic]
        if topic == SESSION_EVENTS.name:
            event = events.parse(decoder, value)
            if partition_of(event["session_id"], self._partitions) != partition:
                raise Rejected("misplaced")
            kind, org_id = events.kind_of(event), event["org_id"]
            return dict(event), Subject(kind, org_id, event["owner_team_id"], event["agent_id"])
        if topic == AUDIT.name:
            audit = audit_events.parse(decoder, value)
            return dict(audit), Subject(AUDIT_EVENT, audit["org_id"], audit["owner_team_id"], None)
        return decoder.decode(value), Subject(CHECKPOINT, None, None, None)
