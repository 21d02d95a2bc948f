"""The query API: authenticates, scopes, asks ClickHouse or Kafka, streams the answer."""
