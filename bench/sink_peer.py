"""The peer of `bench sink`: ClickHouse's own Kafka table engine, reading the same topic into a MergeTree table.

It decodes the same Avro with the same registry into the same envelope and payload, with a text index on the same
content and the same codecs.
It does less than the sink: no exact bytes, no leaves, no costs, no flags, no exactly-once; a record it cannot decode
is dropped. Runs in a process of its own, on the engine itself (no HTTP in between); prints one JSON object.
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from procurator.avro_schemas.codec import load_schema
from procurator.bench.rates import steady_rate
from procurator.topics import SESSION_EVENTS

_PRIMITIVES = {
    "string": "String",
    "bytes": "String",
    "int": "Int32",
    "long": "Int64",
    "double": "Float64",
    "boolean": "Bool",
    "null": "Nothing",
}
_LOGICAL = {"uuid": "UUID", "timestamp-micros": "DateTime64(6)", "decimal": "Decimal(38, 18)"}
#: The main body of an event, as the sink's column `content` has it.
_BODIES = {"TurnRecorded": "content", "ToolCallStarted": "input", "ToolCallCompleted": "output"}


def column_type(schema: Any, named: dict[str, Any]) -> str:
    """Return the ClickHouse type into which its Avro reader puts values of ``schema``."""
    if isinstance(schema, list):
        branches = [column_type(branch, named) for branch in schema if branch != "null"]
        return f"Nullable({branches[0]})" if len(schema) > len(branches) else f"Variant({', '.join(branches)})"
    if isinstance(schema, str):
        return _PRIMITIVES[schema] if schema in _PRIMITIVES else column_type(named[schema], named)
    kind = schema["type"]
    if "name" in schema and kind in ("record", "enum", "fixed"):
        named[schema["name"]] = schema
    if kind == "record":
        fields = (f"{field['name']} {column_type(field['type'], named)}" for field in schema["fields"])
        return f"Tuple({', '.join(fields)})"
    if kind == "enum":
        symbols = (f"'{symbol}' = {number}" for number, symbol in enumerate(schema["symbols"]))
        return f"Enum8({', '.join(symbols)})"
    if kind == "fixed":
        return f"FixedString({schema['size']})"
    if kind == "array":
        return f"Array({column_type(schema['items'], named)})"
    if kind == "map":
        return f"Map(String, {column_type(schema['values'], named)})"
    return _LOGICAL.get(schema.get("logicalType")) or column_type(kind, named)


def statements(kafka: str, registry: str) -> Iterator[str]:
    """Yield what makes the engine read the topic into ``events``."""
    fields = json.loads(load_schema(SESSION_EVENTS.schema).text)["fields"]
    named: dict[str, Any] = {}
    columns = ", ".join(f"{field['name']} {column_type(field['type'], named)}" for field in fields)
    payloads = {branch["name"]: branch for branch in fields[-1]["type"]}
    bodies = ", ".join(
        "variantElement(payload, '{}').{}".format(column_type(payloads[kind], named).replace("'", "\\'"), body)
        for kind, body in _BODIES.items()
    )
    yield (
        f"CREATE TABLE events (partition UInt64, offset UInt64, broker_time DateTime64(3), key String, {columns},"
        " content Nullable(String) CODEC(ZSTD(1)),"
        " INDEX content_words lower(content) TYPE text(tokenizer = splitByNonAlpha))"
        " ENGINE = MergeTree PARTITION BY toDate(broker_time) ORDER BY (session_id, partition, offset)"
    )
    yield (
        f"CREATE TABLE source ({columns}) ENGINE = Kafka SETTINGS kafka_broker_list = '{kafka}',"
        f" kafka_topic_list = '{SESSION_EVENTS.name}', kafka_group_name = 'peer', kafka_format = 'AvroConfluent',"
        f" format_avro_schema_registry_url = '{registry}', kafka_num_consumers = 2, kafka_thread_per_consumer = 1,"
        " kafka_max_block_size = 65536, kafka_handle_error_mode = 'stream'"
    )
    yield (
        "CREATE MATERIALIZED VIEW pump TO events AS SELECT _partition AS partition, _offset AS offset,"
        f" _timestamp_ms AS broker_time, _key AS key, *, coalesce({bodies}) AS content FROM source WHERE empty(_error)"
    )


def measure(kafka: str, registry: str, events: int) -> dict[str, float]:
    """Return the steady rate: rows after the first block that could be seen, by the time since."""
    from chdb import _chdb

    with tempfile.TemporaryDirectory() as folder:
        engine: Any = _chdb.connect(folder)  # type: ignore[attr-defined]
        engine.query("SET allow_experimental_variant_type = 1, allow_suspicious_variant_types = 1")
        for statement in statements(kafka, registry):
            try:
                engine.query(statement)
            except RuntimeError as error:
                # The engine in a process says so for every Kafka table, which works nevertheless.
                if "Shutdown was called" not in str(error):
                    raise
        rate = steady_rate(lambda: int(engine.query("SELECT count() FROM events", "TSV").bytes()), events)
        engine.query("DROP TABLE pump")
        engine.query("DROP TABLE source")
        return {"events_per_s": rate}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
