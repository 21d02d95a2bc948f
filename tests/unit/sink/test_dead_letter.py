"""What a dead-letter pointer says."""

import hashlib

from procurator import events
from procurator.avro_schemas import codec
from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.errors import Rejected
from procurator.sink.blocks import RejectedRecord
from procurator.sink.dead_letter import KEY_BYTES_MAX, REASONS, pointer, pointer_key
from procurator.sink.ledger import Log
from procurator.sink.records import Record

LOG = Log("procurator.audit.v1", 3, "0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d:3", 4)


def test_a_pointer_names_the_record_and_fits_its_schema() -> None:
    schema = load_schema("dead_letter")
    record = pointer(LOG, RejectedRecord(Record(7, 1_790_000_000_000_000, b"k", b"junk"), "undecodable", "why"))
    decoded = Decoder(schema, lambda _schema_id: schema.text).decode(schema.encode(record, 1))
    assert decoded == record
    assert (record["offset"], record["partition"], record["value_bytes"]) == (7, 3, 4)
    assert record["value_sha256"] == hashlib.sha256(b"junk").digest()


def test_a_record_without_a_value_has_a_pointer_too() -> None:
    long = pointer(LOG, RejectedRecord(Record(7, 1, b"k" * KEY_BYTES_MAX * 2, None), "undecodable", "no value"))
    assert long["key"] == b"k" * KEY_BYTES_MAX
    record = pointer(LOG, RejectedRecord(Record(7, 1, None, None), "undecodable", "no value"))
    assert (record["key"], record["value_bytes"]) == (None, 0)


def test_the_same_record_has_the_same_key() -> None:
    assert pointer_key(LOG.log_id, 7) == b"0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d:3@7"


def test_every_reason_of_the_parsers_is_known_before_it_occurs() -> None:
    kinds = {each for module in (codec, events) for each in vars(module).values() if isinstance(each, type)}
    reasons = {each.reason for each in kinds if issubclass(each, Rejected) and each is not Rejected}
    assert reasons == set(REASONS)
