"""Records as listeners get them: the JSON of an entry, a session's list item, a piece of a turn.

Pure but for schemas: the feed has met a record's schema before the record comes here, so that nothing is fetched.
"""

import base64
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import orjson

from procurator import events
from procurator.avro_json import converter
from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.clock import from_us, to_rfc3339
from procurator.errors import Rejected, Unavailable
from procurator.query_api import entries
from procurator.query_api.live.records import DELTA, EVENT, STATE, LiveRecord, Shown
from procurator.query_api.models.records import Entry
from procurator.query_api.models.sessions import Session
from procurator.query_api.queries.base import Row
from procurator.registry import Registry
from procurator.topics import SESSION_DELTAS, SESSION_EVENTS, SESSION_STATE

_log = logging.getLogger(__name__)

_ENTRY_FIELDS = tuple(Entry.model_fields)
_DELTA_FIELDS = ("session_id", "turn_index", "delta_index", "kind", "text", "occurred_at")
#: What a filter of the list compares as a time.
_STATE_TIMES = ("started_at", "completed_at")


class Views:
    """Decodes and shows records of the three topics. ``item`` completes a session as the list shows it."""

    def __init__(self, registry: Registry, item: Callable[[Row], Row]) -> None:
        self._item = item
        schemas = {
            kind: load_schema(topic.schema)
            for kind, topic in ((EVENT, SESSION_EVENTS), (STATE, SESSION_STATE), (DELTA, SESSION_DELTAS))
        }
        self.decoders = {kind: Decoder(schema, registry.fetch) for kind, schema in schemas.items()}
        self._event_to_json = converter(schemas[EVENT].text)
        self._state_to_json = converter(schemas[STATE].text)
        self._delta_to_json = converter(schemas[DELTA].text)

    def show(self, record: LiveRecord) -> Shown | None:
        """Return what is in a record, None when it is rejected: the ledger has it as an entry of no session.

        Raises Unavailable, and nothing else whatever the record holds: it is shown to everybody who listens.
        """
        try:
            match record.kind:
                case "event":
                    return self._event(record)
                case "state":
                    return self._state(record)
                case _:
                    return self._delta(record)
        except Rejected:
            return None
        except Unavailable:
            raise
        # Whatever else a record trips us over on (times of no calendar, numbers of no JSON), it is passed over: raised,
        # it would end the stream of each who listens, again whenever they connect again, and the feed for everybody.
        except Exception as error:  # noqa: BLE001 - see above
            place = f"{record.kind} at offset {record.offset} of log {record.log_id}"
            _log.warning("live: %s is not shown: %s", place, type(error).__name__)  # its message may quote the record
            return None

    def entry(self, row: Row) -> bytes:
        """Return the JSON of an entry of the ledger, from its row (see `EntriesAfter`)."""
        [shown] = entries.shown([row], self.decoders[EVENT], self._event_to_json)
        return orjson.dumps({name: shown[name] for name in _ENTRY_FIELDS})

    def session(self, row: Row) -> bytes:
        """Return the JSON of a session's list item, from its row or its state as JSON values."""
        return Session.model_validate(self._item(row)).model_dump_json().encode()

    def state_record(self, state: str) -> dict[str, Any]:
        """Return the raw record of a published state, from its base64."""
        return self.decoders[STATE].decode(base64.b64decode(state))

    def _event(self, record: LiveRecord) -> Shown:
        event = events.parse(self.decoders[EVENT], record.value)
        kind, payload = events.kind_of(event), event["payload"][1]
        shown = self._event_to_json(event)
        entry = {
            **dict.fromkeys(_ENTRY_FIELDS),
            "log_id": record.log_id,
            "offset": record.offset,
            "broker_time": to_rfc3339(record.broker_time_us),
            "key": None if record.key is None else entries.key_text(record.key),
            "kind": kind,
            "value_sha256": sha256(record.value).hexdigest(),
            "value_bytes": len(record.value),
            **{name: shown[name] for name in ("event_id", "emitter_id", "sequence", "occurred_at")},
            "event": shown,
        }
        turn_index = payload.get("turn_index")
        data = orjson.dumps(entry)
        return Shown(event["org_id"], event["owner_team_id"], data, kind, turn_index, dict(event))

    def _state(self, record: LiveRecord) -> Shown:
        state = self.decoders[STATE].decode(record.value)
        for name in _STATE_TIMES:
            from_us(state[name] or 0)  # raises here, once, what each listener's filter would raise
        data = self.session(self._state_to_json(state))
        return Shown(state["org_id"], state["owner_team_id"], data, "", None, state)

    def _delta(self, record: LiveRecord) -> Shown:
        delta = self.decoders[DELTA].decode(record.value)
        shown = self._delta_to_json(delta)
        data = orjson.dumps({name: shown[name] for name in _DELTA_FIELDS})
        return Shown(delta["org_id"], delta["owner_team_id"], data, "", delta["turn_index"], delta)


def now() -> datetime:
    """Return the time by which a session is stalled."""
    return datetime.now(UTC)
