"""Recorded events in the envelope of session events, with ids that are the same at each import. Pure but for nonces.

The same recording imported again (from wherever in whatever file) has the same session, emitter and sequences: the
ledger marks its events as repeated and counts them nowhere. The organisation is part of a session's identity, since it
is a hard boundary.
"""

import hashlib
import json
import uuid
from collections.abc import Iterator

from procurator.events import SESSION_STARTED, SessionEvent
from procurator.producers.entropy import random_16
from procurator.producers.importers.recording import ImportOptions, Recording
from procurator.producers.limits import clean, fit

EMITTER_ID = "import"
_NAMESPACE = uuid.UUID("6f1d0c3e-52a5-5b0e-9a7c-0f3b6c1a9d42")


def session_id(format_name: str, org_id: str, identity: object) -> str:
    """Return the id of the session that is recorded in ``identity``, a JSON value: a UUID of its content alone."""
    digest = hashlib.sha256()
    # Escaped, since lone surrogates are valid JSON but no UTF-8; sorted, since the order of names says nothing.
    for part in (format_name, org_id, json.dumps(identity, sort_keys=True, separators=(",", ":"))):
        data = part.encode(errors="surrogatepass")
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return str(uuid.uuid5(_NAMESPACE, digest.hexdigest()))


def envelopes(format_name: str, recording: Recording, options: ImportOptions) -> Iterator[SessionEvent]:
    """Yield the events of a recording, complete. Texts are made to fit (see `procurator.producers.limits`)."""
    this = session_id(format_name, options.org_id, recording.identity)
    namespace = uuid.UUID(this)
    for sequence, event in enumerate(recording.events):
        payload = {"runtime": f"import/{format_name}", **event.payload} if sequence == 0 else event.payload
        assert sequence or event.kind == SESSION_STARTED
        truncations, redactions = fit(payload)
        yield {
            "event_id": str(uuid.uuid5(namespace, str(sequence))),
            "session_id": this,
            "emitter_id": EMITTER_ID,
            "sequence": sequence,
            "occurred_at": event.occurred_at,
            "nonce": random_16(),
            "imported": True,
            "org_id": clean(options.org_id),
            "agent_id": clean(recording.agent),
            "owner_team_id": clean(options.owner_team_id),
            "estimated": event.estimated,
            "truncations": truncations,
            "redactions": redactions,
            "payload": (event.kind, payload),
        }
