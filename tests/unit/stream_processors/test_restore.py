"""`procurator.stream_processors.restore`: which states are open, which are put away, which are another log's."""

from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.budgets import Counter
from procurator.budgets.spend import CounterKey
from procurator.session_state import SessionState
from procurator.stream_processors.restore import Restoring

STATE = load_schema("session_state")
LOG_ID = "5b1d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4e:0"


def encoded(session_id: str, status: str, offset: int, log_id: str = LOG_ID) -> tuple[bytes, bytes]:
    state = SessionState(session_id, status=status, as_of_offset=offset)
    return session_id.encode(), STATE.encode(state.to_record(log_id), 1)


def test_open_sessions_are_in_memory_and_ended_ones_put_away() -> None:
    ended: dict[str, bytes] = {}
    restoring = Restoring(LOG_ID, lambda _: STATE.text, ended)
    for key, value in (
        encoded("waits", "PENDING_APPROVAL", 3),
        encoded("ends", "RUNNING", 4),
        encoded("ends", "FAILED", 9),
        encoded("purged", "COMPLETED", 5),
        encoded("dropped", "RUNNING", 5),
        encoded("elsewhere", "RUNNING", 99, "another log"),
    ):
        restoring.take(key, value)
    for gone in (b"purged", b"dropped"):
        restoring.take(gone, None)
    mine, other = (Counter(CounterKey("b1", 0, log_id), "acme", 0) for log_id in (LOG_ID, "another log"))
    found = restoring.finish(2, Decoder(STATE, lambda _: STATE.text), [mine, other])
    assert [(session.session_id, session.partition) for session in found.open_sessions] == [("waits", 2)]
    assert (list(restoring.open), list(ended)) == (["waits"], ["ends"])
    assert (found.folded_to, found.counters, restoring.records) == (9, [mine], 5)
