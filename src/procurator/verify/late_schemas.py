"""Records that came before their schema: whether they may stand as rejected, or as read. Pure.

The sink rejects a record whose schema the registry does not have, for good. If the schema is registered afterwards,
the same bytes could be read. What is known for certain is when the signer recorded the schema, and whether it had asked
for it in vain before (``late``). So, of a record that stands as rejected for want of a schema that is recorded:

- it came after the schema was recorded: the sink could have read it, the rejection is tampering;
- it came before, and the schema is late: sound, it is derived as rejected;
- it came before, and the schema is not late: whether the registry had it in time cannot be told.

A record that stands as read although its schema is recorded nowhere cannot be told either (docs/decisions/0014).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from procurator.avro_schemas.codec import HEADER, MAGIC, UnknownSchema
from procurator.verify.control import RecordedSchema
from procurator.verify.report import Report

_REASON = UnknownSchema.reason


class LateSchemas:
    """The schemas that the control log has recorded, by id."""

    def __init__(self, recorded: Mapping[int, RecordedSchema]) -> None:
        self._recorded = recorded

    def fetch(self, schema_id: int) -> str:
        """Return a schema's text, as a decoder asks for it."""
        if schema_id not in self._recorded:
            raise UnknownSchema(schema_id)
        return self._recorded[schema_id].text

    def rejected_before(
        self, part: Any, times_us: Sequence[int], values: Sequence[bytes | None], report: Report
    ) -> list[int]:
        """Return the rows that are to be derived as rejected for want of their schema; report what cannot be told."""
        reasons = part.column("rejected_reason").to_pylist() if "rejected_reason" in part.column_names else []
        early = []
        for row, reason in enumerate(reasons):
            if reason not in (_REASON, _REASON.encode()):
                continue
            schema_id = schema_id_of(values[row])
            recorded = None if schema_id is None else self._recorded.get(schema_id)
            if recorded is None or times_us[row] >= recorded.recorded_us:
                continue
            early.append(row)
            report.counts["entries_before_their_schema"] += 1
            if not recorded.late:
                message = f"was rejected before schema {schema_id} was recorded; whether it was registered is not known"
                report.cannot_tell("rejected_before_schema", f"offset {part.column('offset')[row]}", message)
        return early

    def is_unrecorded(self, value: bytes | None) -> bool:
        """Whether a value names a schema that is recorded nowhere."""
        schema_id = schema_id_of(value)
        return schema_id is not None and schema_id not in self._recorded


def schema_id_of(value: bytes | None) -> int | None:
    """Return the schema id in a value's header, None when it has none."""
    if value is None or len(value) < HEADER.size:
        return None
    magic, schema_id = HEADER.unpack_from(value)
    return int(schema_id) if magic == MAGIC else None


def no_schema(schema_id: int) -> str:
    """A decoder's source of schemas that has none."""
    raise UnknownSchema(schema_id)
