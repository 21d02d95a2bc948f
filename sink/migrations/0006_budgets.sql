-- The history of budgets: of each minute the last status, and one more whenever its crossings changed. Read with FINAL.

CREATE TABLE IF NOT EXISTS budget_status
(
    budget_id String,
    org_id LowCardinality(String),
    owner_team_id LowCardinality(String) DEFAULT '' COMMENT 'none: the API shows a status to whoever may see the budget',
    session_id Nullable(UUID) COMMENT 'with scope SESSION: whose spend this is',
    definition_version UInt64,
    period_start DateTime64(6, 'UTC'),
    period_end Nullable(DateTime64(6, 'UTC')) COMMENT 'null for a lifetime',
    unit LowCardinality(String),
    limit Decimal(38, 18),
    spent Decimal(38, 18),
    reserved Decimal(38, 18),
    unpriced_tokens UInt64,
    crossed Array(Tuple(fraction Decimal(38, 18), action LowCardinality(String), crossed_at DateTime64(6, 'UTC'), dry_run Bool)),
    exhausted Bool,
    updated_at DateTime64(6, 'UTC'),
    minute DateTime('UTC') MATERIALIZED toStartOfMinute(updated_at),
    crossings UInt8 MATERIALIZED length(crossed)
)
ENGINE = ReplacingMergeTree(updated_at)
ORDER BY (budget_id, ifNull(session_id, toUUID('00000000-0000-0000-0000-000000000000')), period_start, minute, crossings);
