"""Whatever stands in a ledgered topic becomes an entry, with a pointer where no event could be made of it."""

import hashlib
import signal
import uuid
from contextlib import closing
from typing import Any

from procurator import events
from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.registry import Registry
from procurator.topics import AUDIT, DEAD_LETTER, SESSION_EVENTS

SCHEMA = load_schema("session_event")
TURN = {"turn_index": 0, "role": "USER", "content": "hello"}


def event(session_id: str, kind: str = events.TURN_RECORDED, sequence: int = 0, **payload: Any) -> dict[str, Any]:
    return {
        "event_id": str(uuid.uuid4()),
        "session_id": session_id,
        "emitter_id": "runtime",
        "sequence": sequence,
        "occurred_at": 1_790_000_000_000_000,
        "nonce": bytes(16),
        "org_id": "acme",
        "agent_id": "billing",
        "owner_team_id": "payments",
        "payload": (kind, payload or TURN),
    }


def test_bad_records_are_entries_with_pointers_and_the_rest_goes_on(world: Any, session_on: Any) -> None:
    session_id = session_on(2)
    key = session_id.encode()

    def encoded(**fields: Any) -> bytes:
        return SCHEMA.encode(event(session_id, **fields), world.schema_id)

    call = {"model_call_id": "m", "provider": "openai", "model": "gpt-4o", "latency_ms": 1.0, "input_tokens": -1}
    large = "word " * 1_000_000
    records: list[tuple[str, bytes | None, int, str]] = [
        ("good", encoded(), 2, ""),
        ("no Avro", b"this is no Avro", 2, "undecodable"),
        ("unknown schema", b"\x00\x7f\xff\xff\xff" + encoded()[5:], 2, "schema_unknown"),
        ("negative tokens", encoded(kind=events.MODEL_CALL_COMPLETED, sequence=1, **call), 2, "rule_broken"),
        ("5 MB turn", encoded(sequence=2, turn_index=1, role="ASSISTANT", content=large), 2, ""),
        ("invalid UTF-8", encoded(sequence=3).replace(b"hello", b"hell\xff"), 2, "undecodable"),
        ("another record's schema", b"\x00" + _other_schema(world).to_bytes(4, "big") + b"x", 2, "schema_mismatch"),
        ("null", None, 2, "undecodable"),
        ("wrong partition", encoded(sequence=4), 3, ""),
        ("repeated", encoded(), 2, ""),
        ("last", encoded(sequence=5), 2, ""),
    ]
    world.start_sink().await_ready()
    for _, value, partition, _ in records:
        world.produce(SESSION_EVENTS.name, key, value, partition)
        world.flush()
    world.produce(SESSION_EVENTS.name, None, encoded(sequence=6), 2)
    world.produce(AUDIT.name, b"ann", b"junk")
    world.flush()
    world.await_entries(12)
    world.await_entries(1, AUDIT.name.split(".")[1])

    rows = world.rows("SELECT toString(flags), rejected_reason, length(content), counted, offset FROM events"
                      " WHERE endsWith(log_id, ':2') ORDER BY offset")  # fmt: skip
    in_two = [record for record in records if record[2] == 2]
    assert [row[1] for row in rows] == [reason for *_, reason in in_two] + [""]
    assert [row[0] for row in rows] == [
        "['rejected']" if reason else "['repeated']" if name == "repeated" else "[]" for name, _, _, reason in in_two
    ] + ["[]"]
    assert rows[3][2] is None
    assert rows[4][2] == len(large)
    assert world.rows("SELECT toString(flags), toString(session_id) FROM events WHERE endsWith(log_id, ':3')") == [
        ["['misplaced']", session_id]
    ]
    world.assert_ledger_is_the_topic()
    world.assert_ledger_is_the_topic(AUDIT.name, "audit")

    schema = load_schema("dead_letter")
    decoder = Decoder(schema, lambda _schema_id: schema.text)
    letters = [record for part in world.read(DEAD_LETTER.name).values() for record in part]
    pointers = {(p := decoder.decode(r.value))["source_topic"] + str(p["offset"]): (p, r.key) for r in letters}
    logs = {SESSION_EVENTS.name: world.log_ids()[2], AUDIT.name: None}
    assert {name for name in pointers if name.startswith(SESSION_EVENTS.name)} == {
        SESSION_EVENTS.name + str(offset) for offset, (*_, reason) in enumerate(in_two) if reason
    }
    for offset, (_, value, _, reason) in enumerate(in_two):
        if reason:
            found, letter_key = pointers[SESSION_EVENTS.name + str(offset)]
            assert (found["log_id"], found["reason"], found["key"]) == (logs[SESSION_EVENTS.name], reason, key)
            assert found["value_sha256"] == hashlib.sha256(value or b"").digest()
            assert letter_key == f"{found['log_id']}@{offset}".encode()
    assert len(letters) == len(pointers) == 7, "six of events, one of audit"


def test_a_crash_before_the_pointer_sends_it_after_the_next_start(world: Any) -> None:
    """The entry is there, its pointer is not: as after dying between insert and dead letter."""
    world.produce(SESSION_EVENTS.name, b"k", b"junk", 0)
    world.flush()
    first = world.start_sink().await_ready()
    world.await_entries(1)
    world.await_pointers(1)
    assert first.end(signal.SIGTERM) == 0
    total = sum(map(len, world.read(DEAD_LETTER.name).values()))
    world.clickhouse.execute("TRUNCATE TABLE ledger_heads")
    second = world.start_sink().await_ready()
    assert second.end(signal.SIGTERM) == 0
    letters = [record for part in world.read(DEAD_LETTER.name).values() for record in part]
    assert len(letters) == total + 1 == 2
    assert len({(letter.key, letter.value) for letter in letters}) == 1, "the same pointer under the same key"
    assert world.entries() == 1


def _other_schema(world: Any) -> int:
    with closing(Registry(world.stack.registry_url)) as registry:
        return registry.schema_id(load_schema("signal"))
