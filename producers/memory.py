"""A transport that keeps the records, so that agents (and we) can test what would be sent, without Kafka."""

from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.events import SessionEvent, parse


class MemoryTransport:
    """Give it to ``Procurator(transport=…)``; `events` are what was sent, decoded from the very bytes."""

    #: What the records name as their schema's id.
    schema_id = 1

    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes]] = []
        schema = load_schema("session_event")
        self._decoder = Decoder(schema, lambda _: schema.text)

    @property
    def events(self) -> list[SessionEvent]:
        """Every event sent so far, checked by the rules that the ledger judges by."""
        return [parse(self._decoder, value) for _, value in self.records]

    def send(self, key: bytes, value: bytes) -> None:
        self.records.append((key, value))

    def serve(self) -> None:
        """Nothing is ever waiting."""

    def flush(self, deadline_s: float) -> None:
        """Return at once: everything is delivered already."""

    def close(self) -> None:
        """Keep the records."""
