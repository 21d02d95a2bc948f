"""What a client of a ClickHouse cluster must know: names of tables, and the settings to send. Pure.

The tables of a cluster are made by `procurator.sink.cluster`.
"""

#: With every query: subqueries over other shards see all of them, and what asks for one log asks its shard alone.
QUERY_SETTINGS = {"distributed_product_mode": "global", "optimize_skip_unused_shards": "1"}

#: With everything that whoever extends or checks the ledger sends. An insert is done when a majority of the shard's
#: replicas has it; a head is read where the last insert went, the first replica that answers, and never from one that
#: lags, since the tokens of what it lacks are remembered for a while only.
LEDGER_SETTINGS = {
    **QUERY_SETTINGS,
    "distributed_foreground_insert": "1",
    "insert_quorum": "auto",
    "insert_quorum_timeout": "30000",
    "load_balancing": "in_order",
    "prefer_localhost_replica": "0",
    "max_replica_delay_for_distributed_queries": "60",
    "fallback_to_stale_replicas_for_distributed_queries": "0",
}


def local(table: str) -> str:
    """Return the name of the table that has one shard's rows of ``table``."""
    return f"{table}_local"


def altered(table: str, cluster: str) -> str:
    """Return what ``ALTER TABLE`` and a mutation of rows must name; ``cluster`` is empty for a single server."""
    return f"{local(table)} ON CLUSTER {cluster}" if cluster else table
