"""IO: price records into the prices topic. Which ones is for `procurator.price_changes` to say."""

from collections.abc import Sequence

from procurator.avro_schemas.codec import load_schema
from procurator.kafka_writing import write_all
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
    write_all(
        bootstrap_servers,
        (
            (
                PRICES.name,
                price_key(record.provider, record.model, record.org_id),
                schema.encode(to_avro(record), schema_id),
            )
            for record in records
        ),
        "prices",
    )
