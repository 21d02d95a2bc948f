-- The control log: epochs, purges, holds, erasures, exports, keys and writer schemas, as the signer wrote them.
-- Small, kept for ever, and read in the order of the log: no partitions by day, no projection.

CREATE TABLE IF NOT EXISTS ledger_control
(
    log_id LowCardinality(String),
    offset UInt64,
    leaf_index UInt64,
    leaf_hash FixedString(32),
    broker_time DateTime64(6, 'UTC'),
    key Nullable(String),
    value Nullable(String) COMMENT 'exact bytes' CODEC(ZSTD(1)),
    flags Array(LowCardinality(String)),
    rejected_reason LowCardinality(String),
    rejected_message String,
    counted Bool ALIAS empty(flags),

    event_id Nullable(UUID),
    occurred_at Nullable(DateTime64(6, 'UTC')),
    ledger_id Nullable(UUID),
    kind LowCardinality(String) COMMENT 'record name of the payload, without namespace',
    body Nullable(String) COMMENT 'the payload as JSON, its digests in hex' CODEC(ZSTD(1)),

    -- The server itself refuses a block whose sender read the head too long ago (see sink/ledger.py).
    insert_by DateTime64(6, 'UTC') EPHEMERAL now64(6) + 10,
    late UInt8 MATERIALIZED throwIf(insert_by < now64(6), 'the head was read too long ago')
)
ENGINE = MergeTree
ORDER BY (log_id, offset)
SETTINGS non_replicated_deduplication_window = 20000;
