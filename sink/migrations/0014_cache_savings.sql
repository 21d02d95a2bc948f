-- What caching saved, in USD: what a call would have cost with all of its input at the price of fresh input, less its
-- cost. By the same prices as the cost, so the sink writes it; entries from before this migration have none.

ALTER TABLE events ADD COLUMN IF NOT EXISTS cache_saved_usd Nullable(Decimal(38, 18))
    COMMENT 'of a priced model call; below zero where writing to the cache cost more than reading from it saved' AFTER cost_usd;

CREATE VIEW IF NOT EXISTS finops.cache_savings_by_day_v1 DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT
    toDate(broker_time) AS day,
    org_id,
    owner_team_id,
    agent_id,
    provider,
    model,
    imported,
    count() AS model_calls,
    sum(events.input_tokens) AS input_tokens,
    sum(events.cached_input_tokens) AS cached_input_tokens,
    sum(events.cache_write_tokens) AS cache_write_tokens,
    sum(events.cost_usd) AS cost_usd,
    sum(events.cache_saved_usd) AS cache_saved_usd,
    countIf(isNull(events.cache_saved_usd)) AS unknown_calls
FROM events
WHERE kind = 'ModelCallCompleted' AND empty(flags)
GROUP BY day, org_id, owner_team_id, agent_id, provider, model, imported;
