"""An event of a session, from its payload to its bytes: the hot path of the SDK. Pure, but for the random numbers.

What stays the same from event to event of a session is written once. A property test keeps the bytes what the general
encoder reads; the order of the fields is the schema's, which only ever grows at its end.
"""

import struct
from typing import TYPE_CHECKING, Any

from procurator.avro_schemas.codec import load_schema
from procurator.avro_schemas.encoder import field_writers
from procurator.errors import UserError
from procurator.events import TIME_US_MAX
from procurator.producers.entropy import random_16, random_uuid
from procurator.producers.limits import fit, fits

if TYPE_CHECKING:
    from procurator.producers.redaction import Redactor

_WRITE = field_writers(load_schema("session_event"))
_write_long = _WRITE["sequence"]
_write_estimated, _write_truncations, _write_redactions = (
    _WRITE[name] for name in ("estimated", "truncations", "redactions")
)
_write_payload = _WRITE["payload"]
#: Avro's length of a UUID's text, and three empty arrays.
_UUID_LENGTH, _NO_MARKS = b"\x48", b"\0\0\0"


class Envelope:
    """Who emits, in which session, for whom. ``redactor`` masks payloads before anything else is done with them."""

    def __init__(
        self,
        emitter_id: str,
        session_id: str,
        org_id: str,
        agent_id: str,
        owner_team_id: str,
        redactor: "Redactor | None" = None,
    ) -> None:
        self.emitter_id = emitter_id
        self._redactor = redactor
        self._session = _written(session_id=session_id, emitter_id=emitter_id)
        self._owner = _written(imported=False, org_id=org_id, agent_id=agent_id, owner_team_id=owner_team_id)

    def encode(
        self, sequence: int, occurred_at: int, kind: str, payload: dict[str, Any], estimated: list[str]
    ) -> bytes:
        """Return the Avro of an event with a new id and nonce; ``payload`` may be changed to fit.

        Raises UserError when it does not fit the schema.
        """
        masked = [] if self._redactor is None else self._redactor.redact(payload)
        try:
            try:
                written = self._write(sequence, occurred_at, kind, payload, estimated, [], masked)
                if fits(kind, payload, len(written)):
                    return written
            except UnicodeEncodeError:
                pass  # Half a surrogate pair: `fit` puts it right.
            truncations, redactions = fit(payload)
            return self._write(sequence, occurred_at, kind, payload, estimated, truncations, masked + redactions)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, struct.error) as error:
            raise UserError(f"{kind}: the event does not fit its schema: {error!r}") from error

    def _write(
        self,
        sequence: int,
        occurred_at: int,
        kind: str,
        payload: dict[str, Any],
        estimated: list[str],
        truncations: list[dict[str, Any]],
        redactions: list[dict[str, Any]],
    ) -> bytes:
        parts = [_UUID_LENGTH, random_uuid().encode(), self._session]
        put = parts.append
        _write_long(sequence, put)
        # A clock that has gone mad must not cost the event.
        _write_long(occurred_at if 0 <= occurred_at <= TIME_US_MAX else min(max(0, occurred_at), TIME_US_MAX), put)
        put(random_16())
        put(self._owner)
        if estimated or truncations or redactions:
            _write_estimated(estimated, put)
            _write_truncations(truncations, put)
            _write_redactions(redactions, put)
        else:
            put(_NO_MARKS)
        _write_payload((kind, payload), put)
        return b"".join(parts)


def _written(**fields: Any) -> bytes:
    parts: list[bytes] = []
    for name, value in fields.items():
        _WRITE[name](value, parts.append)
    return b"".join(parts)
