"""IO: which writer schemas the ledgered records name, so that each gets its entry in the control log once."""

import logging
from collections.abc import Iterable
from typing import Any

from procurator.avro_schemas.codec import HEADER, MAGIC, UnknownSchema, parse_schema
from procurator.registry import Registry
from procurator.signer.trees import Record

log = logging.getLogger(__name__)

#: Ids looked up for one epoch: a producer that makes ids up must not stop the signer.
LOOKUPS_MAX = 50


class SchemaIds:
    """Ids that came up and have no entry yet."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._new: set[int] = set()
        self._unusable: set[int] = set()

    def add(self, schema_id: int) -> None:
        """Remember one id."""
        self._new.add(schema_id)

    def note(self, records: Iterable[Record]) -> None:
        """Remember the ids in the headers of these records' values."""
        headers = {record.value[: HEADER.size] for record in records if record.value is not None}
        for header in headers:
            if len(header) == HEADER.size:
                magic, schema_id = HEADER.unpack(header)
                if magic == MAGIC and schema_id < 2**31:
                    self._new.add(schema_id)

    def payloads(self, recorded: set[int]) -> list[dict[str, Any]]:
        """Return the ``WriterSchema`` payloads of what came up and is not ``recorded``; raises Unavailable.

        An id that the registry does not have, or whose schema is none, is left out: its records are rejected.
        """
        self._new -= recorded | self._unusable
        found = []
        for schema_id in sorted(self._new)[:LOOKUPS_MAX]:
            try:
                text = self._registry.fetch(schema_id)
                found.append({"schema_id": schema_id, "subject": parse_schema(text).name, "schema": text})
            except (UnknownSchema, ValueError, KeyError, TypeError) as error:
                log.warning("schema id %d in a ledgered record cannot be used: %s", schema_id, error)
                self._unusable.add(schema_id)
        return found
