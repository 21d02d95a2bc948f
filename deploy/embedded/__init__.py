"""The one-machine stack: real Kafka, registry and ClickHouse as supervised child processes."""
