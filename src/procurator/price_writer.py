"""IO: price records into the prices topic. Which ones is for `procurator.price_changes` to say."""

from collections.abc import Sequence

from confluent_kafka import KafkaError, Message, Producer

from procurator.avro_schemas.codec import load_schema
from procurator.errors import Unavailable
from procurator.kafka import TIMEOUT_S, producer_config
from procurator.price_codec import to_avro
from procurator.price_record import PriceRecord, price_key
from procurator.registry import Registry
from procurator.topics import PRICES


def publish_prices(bootstrap_servers: str, registry: Registry, records: Sequence[PriceRecord]) -> None:
    """Publish ``records`` and wait until Kafka has confirmed them all.

    Raises Unavailable when it did not: some may have been published, and what is left is still a change.
    """
    if not records:
        return
    schema = load_schema(PRICES.schema)
    schema_id = registry.schema_id(schema)
    failures: list[KafkaError] = []

    def delivered(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            failures.append(error)

    producer = Producer(producer_config(bootstrap_servers))
    for record in records:
        key = price_key(record.provider, record.model, record.org_id)
        producer.produce(PRICES.name, schema.encode(to_avro(record), schema_id), key, on_delivery=delivered)
        producer.poll(0)
    left = producer.flush(TIMEOUT_S)
    if left or failures:
        why = failures[0].str() if failures else f"no answer within {TIMEOUT_S:.0f} s"
        raise Unavailable(f"Kafka at {bootstrap_servers} did not take {left + len(failures)} prices: {why}")
