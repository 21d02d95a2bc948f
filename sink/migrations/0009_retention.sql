-- An erased entry keeps the digest of what it said: its leaf hash can still be derived, so its place, time and key are still proved.

ALTER TABLE events ADD COLUMN IF NOT EXISTS value_sha256 Nullable(FixedString(32)) COMMENT 'of a value that was erased' AFTER value;

-- What purged sessions had cost: the totals that the signed purges of the control log have, as rows (procurator/retention/totals.py).
-- They count from the second entry of a purge on, which says that its sessions are gone.

CREATE VIEW IF NOT EXISTS purged_spend AS
SELECT
    toUUID(JSONExtractString(assumeNotNull(body), 'purge_id')) AS purge_id,
    row.1 AS log_id,
    toDate(row.2) AS day,
    row.3 AS charged_s,
    row.4 AS org_id,
    row.5 AS owner_team_id,
    row.6 AS agent_id,
    row.7 AS provider,
    row.8 AS model,
    row.9 AS imported,
    row.10 AS first_offset,
    row.11 AS last_offset,
    row.12 AS model_calls,
    row.13 AS unpriced_calls,
    row.14 AS input_tokens,
    row.15 AS cached_input_tokens,
    row.16 AS cache_write_tokens,
    row.17 AS output_tokens,
    row.18 AS reasoning_tokens,
    row.19 AS unpriced_tokens,
    toDecimal128(row.20, 18) AS cost_usd,
    toDecimal128(row.21, 18) AS reported_cost_usd
FROM ledger_control
ARRAY JOIN JSONExtract(JSONExtractString(assumeNotNull(body), 'totals'), 'spend',
    'Array(Tuple(String, String, Int64, String, String, String, String, String, Bool, UInt64, UInt64, UInt64, UInt64,
    UInt64, UInt64, UInt64, UInt64, UInt64, Int64, String, String))') AS row
WHERE kind = 'Purge' AND body LIKE '%"completed":true%';

CREATE VIEW IF NOT EXISTS finops.purged_spend_by_day_v1 DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT
    day, org_id, owner_team_id, agent_id, provider, model, imported,
    sum(p.model_calls) AS model_calls,
    sum(p.input_tokens) AS input_tokens,
    sum(p.cached_input_tokens) AS cached_input_tokens,
    sum(p.cache_write_tokens) AS cache_write_tokens,
    sum(p.output_tokens) AS output_tokens,
    sum(p.reasoning_tokens) AS reasoning_tokens,
    sum(p.cost_usd) AS cost_usd,
    sum(p.reported_cost_usd) AS reported_cost_usd,
    sum(p.unpriced_calls) AS unpriced_calls,
    sum(p.unpriced_tokens) AS unpriced_tokens
FROM purged_spend AS p
GROUP BY day, org_id, owner_team_id, agent_id, provider, model, imported;
