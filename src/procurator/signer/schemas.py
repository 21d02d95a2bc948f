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
#: Ids without a schema that are asked for again, a few an epoch: they may be registered yet.
UNKNOWN_MAX = 1_000
AGAIN_MAX = 5


class SchemaIds:
    """Ids that came up and have no entry yet."""

    def __init__(self, registry: Registry, unknown: Iterable[int] = ()) -> None:
        self._registry = registry
        self._new: set[int] = set()
        #: Asked for in vain, the one that was asked for longest ago first.
        self._unknown: dict[int, None] = dict.fromkeys(unknown)

    @property
    def unknown(self) -> frozenset[int]:
        """Ids that the registry did not have when it was asked."""
        return frozenset(self._unknown)

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

        An id that the registry does not have, or whose schema is none, is left out: its records are rejected. It is
        asked for again later, and then marked as late.
        """
        self._new -= recorded | self._unknown.keys()
        again = list(self._unknown)[:AGAIN_MAX]
        found = []
        for schema_id in (*sorted(self._new)[:LOOKUPS_MAX], *again):
            late = schema_id in self._unknown
            try:
                text = self._registry.fetch(schema_id)
                payload = {"schema_id": schema_id, "subject": parse_schema(text).name, "schema": text, "late": late}
            except (UnknownSchema, ValueError, KeyError, TypeError) as error:
                if not late:
                    log.warning("schema id %d in a ledgered record cannot be used: %s", schema_id, error)
                self._new.discard(schema_id)  # nobody waits behind ids that were made up
                self._unknown.pop(schema_id, None)  # to the end of the line
                if len(self._unknown) < UNKNOWN_MAX:
                    self._unknown[schema_id] = None
            else:
                self._unknown.pop(schema_id, None)
                found.append(payload)
        return found
