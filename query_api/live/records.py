"""A record from Kafka on its way to listeners. Pure."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from procurator.topics import SESSION_DELTAS, SESSION_EVENTS, SESSION_STATE

#: What listeners get, by topic: also the name of the Server-Sent Event.
EVENT, STATE, DELTA = "event", "state", "delta"
KINDS = {SESSION_EVENTS.name: EVENT, SESSION_STATE.name: STATE, SESSION_DELTAS.name: DELTA}

#: The first byte of a string of 36 characters in Avro: its length, zigzag.
_LENGTH_36 = 72
_HEADER = 5
_UUID_END = _HEADER + 37


class Shown(NamedTuple):
    """What is in a record, decoded once for all listeners. ``data`` is the JSON that each of them gets."""

    org_id: str
    owner_team_id: str
    data: bytes
    #: Of an event its payload's name, for example ``TurnRecorded``; of others empty.
    kind: str
    #: Of an event or delta the turn it is about.
    turn_index: int | None
    #: The raw record: what filters judge.
    record: dict[str, Any]


@dataclass(slots=True, eq=False)
class LiveRecord:
    """One record of a session; ``kind`` is one of `KINDS`."""

    kind: str
    partition: int
    log_id: str
    offset: int
    broker_time_us: int
    key: bytes | None
    value: bytes
    session_id: str
    #: Filled when the first listener needs it; None then means that the record is none (rejected).
    shown: Shown | None = None
    is_shown: bool = False
    #: The whole Server-Sent Event of those who stand at this record and nowhere else; made by the first of them.
    frame: bytes | None = None

    @property
    def size_bytes(self) -> int:
        return len(self.value)


def session_id_of(kind: str, value: bytes) -> str | None:
    """Return the session that a framed record is about, without decoding it; None when it is not where it should be.

    The first fields of an event are ``event_id`` and ``session_id``, of the others ``session_id``: strings of 36
    characters. Schemas only grow at their end, which a test keeps true of these.
    """
    at = _UUID_END if kind == EVENT else _HEADER
    if len(value) < at + 37 or value[_HEADER] != _LENGTH_36 or value[at] != _LENGTH_36:
        return None
    try:
        return value[at + 1 : at + 37].decode("ascii")
    except UnicodeDecodeError:
        return None
