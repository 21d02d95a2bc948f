"""A transport that keeps the records, so that agents (and we) can test what would be sent, without Kafka."""

import threading

from procurator.avro_schemas.codec import HEADER, MAGIC, Decoder, load_schema
from procurator.events import SessionEvent, parse


class MemoryTransport:
    """Give it to ``Procurator(transport=…)``; `events` are what was sent, decoded from the very bytes."""

    #: What the records name as their schema's id.
    schema_id = 1

    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes]] = []
        self.woken = threading.Event()
        schema = load_schema("session_event")
        self._decoder = Decoder(schema, lambda _: schema.text)
        self._header = HEADER.pack(MAGIC, self.schema_id)

    @property
    def events(self) -> list[SessionEvent]:
        """Every event sent so far, checked by the rules that the ledger judges by."""
        return [parse(self._decoder, value) for _, value in self.records]

    def send(self, key: bytes, body: bytes) -> None:
        self.records.append((key, self._header + body))

    def confirm(self, deadline_s: float) -> None:
        """Return at once: nothing is safer than memory here."""

    def serve(self) -> float:
        """Nothing is ever waiting."""
        return 0.1

    def flush(self, deadline_s: float, patient: bool = True) -> int:
        """Return at once: everything is delivered already."""
        return 0

    def check(self) -> None:
        """It is always there."""

    def close(self) -> None:
        """Keep the records."""

    def forget(self) -> None:
        """Keep the records."""
