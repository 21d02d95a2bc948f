"""What the API asks ClickHouse: each query is a frozen dataclass that renders to SQL and bound parameters. Pure."""
