-- The ledger: one row per record of a ledgered topic, derived from Kafka alone. Nothing here expires by itself.
-- Every block is inserted with a deduplication token, hence the windows (see sink/ledger.py).

CREATE TABLE IF NOT EXISTS events
(
    -- The entry: the record as it stands in Kafka, and its leaf in the log's Merkle tree.
    log_id LowCardinality(String) COMMENT 'topic id, colon, partition',
    offset UInt64,
    leaf_index UInt64 COMMENT 'dense, from 0; offsets may have holes',
    leaf_hash FixedString(32),
    broker_time DateTime64(6, 'UTC') COMMENT 'LogAppendTime',
    key Nullable(String),
    value Nullable(String) COMMENT 'exact bytes' CODEC(ZSTD(1)),
    flags Array(LowCardinality(String)) COMMENT 'rejected, misplaced, repeated; one that has any counts nowhere',
    rejected_reason LowCardinality(String) COMMENT 'empty unless rejected',
    rejected_message String COMMENT 'for people',
    counted Bool ALIAS empty(flags),

    -- The envelope; defaults when rejected.
    event_id Nullable(UUID),
    session_id UUID,
    emitter_id String,
    sequence Nullable(UInt64),
    occurred_at Nullable(DateTime64(6, 'UTC')),
    imported Bool,
    org_id LowCardinality(String),
    agent_id LowCardinality(String),
    owner_team_id LowCardinality(String),
    estimated Array(LowCardinality(String)),
    kind LowCardinality(String) COMMENT 'record name of the payload, without namespace',

    -- The payload: columns that several kinds share mean the same thing in each.
    turn_index Nullable(UInt32),
    role LowCardinality(String),
    content Nullable(String) COMMENT 'main body: of a turn its content, of a tool call its input or output' CODEC(ZSTD(1)),
    thinking Nullable(String) CODEC(ZSTD(1)),
    input Nullable(String) ALIAS if(kind = 'ToolCallStarted', content, NULL),
    output Nullable(String) ALIAS if(kind = 'ToolCallCompleted', content, NULL),
    tool_call_id Nullable(String),
    model_call_id Nullable(String),
    approval_id Nullable(String),
    tool_name LowCardinality(String),
    mcp_server_id LowCardinality(Nullable(String)),
    provider LowCardinality(String),
    model LowCardinality(String),
    status LowCardinality(String) COMMENT 'of a completed call or an ended session',
    error_message Nullable(String),
    reason Nullable(String),
    latency_ms Nullable(Float64),
    first_token_ms Nullable(Float64),
    timeout_ms Nullable(Float64),
    input_tokens UInt64,
    cached_input_tokens UInt64,
    cache_write_tokens UInt64,
    output_tokens UInt64,
    reasoning_tokens UInt64,
    cost_usd Nullable(Decimal(38, 18)) COMMENT 'null: unpriced, or no model call',
    price_version LowCardinality(String),
    reported_cost_usd Nullable(Decimal(38, 18)),

    -- The server itself refuses a block whose sender read the head too long ago (see sink/ledger.py).
    insert_by DateTime64(6, 'UTC') EPHEMERAL now64(6) + 10,
    late UInt8 MATERIALIZED throwIf(insert_by < now64(6), 'the head was read too long ago'),

    INDEX content_words lower(content) TYPE text(tokenizer = splitByNonAlpha),
    INDEX thinking_words lower(thinking) TYPE text(tokenizer = splitByNonAlpha),
    -- Slim: what verifier, proofs and the sink's head need; whole rows are then read by (session_id, log_id, offset).
    PROJECTION by_log
    (
        SELECT log_id, offset, leaf_index, leaf_hash, broker_time, session_id ORDER BY log_id, offset
    )
)
ENGINE = MergeTree
PARTITION BY toDate(broker_time)
ORDER BY (session_id, log_id, offset)
SETTINGS non_replicated_deduplication_window = 20000;

CREATE TABLE IF NOT EXISTS audit
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
    emitter_id String,
    sequence Nullable(UInt64),
    occurred_at Nullable(DateTime64(6, 'UTC')),
    org_id LowCardinality(String),
    principal String,
    action LowCardinality(String),
    outcome LowCardinality(String),
    resource Nullable(String),
    owner_team_id LowCardinality(Nullable(String)),
    purpose Nullable(String),
    filter Nullable(String),
    item_count Nullable(UInt64),
    request_id Nullable(String),
    remote_address Nullable(String),
    details Nullable(String),

    -- The server itself refuses a block whose sender read the head too long ago (see sink/ledger.py).
    insert_by DateTime64(6, 'UTC') EPHEMERAL now64(6) + 10,
    late UInt8 MATERIALIZED throwIf(insert_by < now64(6), 'the head was read too long ago'),

    PROJECTION by_log
    (
        SELECT log_id, offset, leaf_index, leaf_hash, broker_time ORDER BY log_id, offset
    )
)
ENGINE = MergeTree
PARTITION BY toDate(broker_time)
ORDER BY (org_id, broker_time, log_id, offset)
SETTINGS non_replicated_deduplication_window = 20000;

-- Where each log stood at some time: next_offset is what the sink reads next. The entries after it are the rest.
CREATE TABLE IF NOT EXISTS ledger_heads
(
    log_id LowCardinality(String),
    topic LowCardinality(String),
    partition UInt32,
    size UInt64 COMMENT 'leaves',
    next_offset UInt64,
    frontier Array(FixedString(32)) COMMENT 'roots of the perfect subtrees, largest first',
    root FixedString(32),
    updated_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree(next_offset)
ORDER BY log_id;

-- Offsets that Kafka no longer had when the sink came to them: lost to the ledger. They have no leaf.
CREATE TABLE IF NOT EXISTS ledger_gaps
(
    log_id LowCardinality(String),
    first_offset UInt64,
    next_offset UInt64 COMMENT 'first offset after the gap',
    noticed_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = MergeTree
ORDER BY (log_id, first_offset)
SETTINGS non_replicated_deduplication_window = 20000;
