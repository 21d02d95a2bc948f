-- Corrections of past prices: events of their own, whose cost_usd is the difference. They count on the day on which they were made.

ALTER TABLE events
    ADD COLUMN IF NOT EXISTS corrects_offset Nullable(UInt64) COMMENT 'of a correction: the completed call, in the same log',
    ADD COLUMN IF NOT EXISTS newly_priced_tokens Nullable(UInt64) COMMENT 'of a correction: tokens of a call that had no price until then';
ALTER TABLE events COMMENT COLUMN cost_usd 'null: unpriced, or no model call; of a correction the difference';

CREATE VIEW IF NOT EXISTS finops.spend_by_day_v2 DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT
    toDate(broker_time) AS day,
    org_id,
    owner_team_id,
    agent_id,
    provider,
    model,
    imported,
    countIf(kind = 'ModelCallCompleted') AS model_calls,
    countIf(kind = 'CostCorrected') AS corrections,
    sum(events.input_tokens) AS input_tokens,
    sum(events.cached_input_tokens) AS cached_input_tokens,
    sum(events.cache_write_tokens) AS cache_write_tokens,
    sum(events.output_tokens) AS output_tokens,
    sum(events.reasoning_tokens) AS reasoning_tokens,
    sum(events.cost_usd) AS cost_usd,
    sumIf(events.cost_usd, kind = 'CostCorrected') AS corrected_usd,
    sum(events.reported_cost_usd) AS reported_cost_usd,
    countIf(kind = 'ModelCallCompleted' AND isNull(events.cost_usd)) - countIf(isNotNull(events.newly_priced_tokens)) AS unpriced_calls,
    countIf(notEmpty(events.estimated)) AS estimated_calls,
    sumIf(events.cost_usd, notEmpty(events.estimated)) AS estimated_cost_usd
FROM events
WHERE kind IN ('ModelCallCompleted', 'CostCorrected') AND empty(flags)
GROUP BY day, org_id, owner_team_id, agent_id, provider, model, imported;
