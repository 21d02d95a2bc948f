"""The sink: Kafka records become ledger entries in ClickHouse, exactly once."""
