-- What purged sessions had cost: the totals that the signed purges of the control log have, as rows. They count from the second entry
-- of a purge on, which says that its sessions are gone.

CREATE VIEW IF NOT EXISTS finops.purged_spend_by_day_v1 DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT
    toUUID(JSONExtractString(body, 'purge_id')) AS purge_id,
    toDate(row.1) AS day,
    row.2 AS org_id,
    row.3 AS owner_team_id,
    row.4 AS agent_id,
    row.5 AS provider,
    row.6 AS model,
    row.7 AS model_calls,
    row.8 AS input_tokens,
    row.9 AS cached_input_tokens,
    row.10 AS cache_write_tokens,
    row.11 AS output_tokens,
    row.12 AS reasoning_tokens,
    toDecimal128(row.13, 18) AS cost_usd,
    toDecimal128(row.14, 18) AS reported_cost_usd,
    row.15 AS unpriced_calls,
    row.16 AS unpriced_tokens
FROM ledger_control
ARRAY JOIN JSONExtract(JSONExtractString(assumeNotNull(body), 'totals'), 'spend',
    'Array(Tuple(day String, org_id String, owner_team_id String, agent_id String, provider String, model String,
    model_calls UInt64, input_tokens UInt64, cached_input_tokens UInt64, cache_write_tokens UInt64, output_tokens UInt64,
    reasoning_tokens UInt64, cost_usd String, reported_cost_usd String, unpriced_calls UInt64, unpriced_tokens UInt64))') AS row
WHERE kind = 'Purge' AND body LIKE '%"completed":true%';
