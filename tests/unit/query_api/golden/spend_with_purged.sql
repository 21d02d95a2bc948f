SELECT g0, g1, sum(part.model_calls) AS model_calls, sum(part.input_tokens) AS input_tokens, sum(part.cached_input_tokens) AS cached_input_tokens, sum(part.cache_write_tokens) AS cache_write_tokens, sum(part.output_tokens) AS output_tokens, sum(part.reasoning_tokens) AS reasoning_tokens, toString(sum(part.cost_usd)) AS cost_usd, toString(sum(part.estimated_cost_usd)) AS estimated_cost_usd, sum(part.estimated_calls) AS estimated_calls, sum(part.unpriced_calls) AS unpriced_calls, sum(part.unpriced_tokens) AS unpriced_tokens, toString(sum(part.reported_cost_usd)) AS reported_cost_usd
FROM (
SELECT nullIf(toString(owner_team_id), '') AS g0, nullIf(toString(toDate(broker_time)), '') AS g1, countIf(kind = 'ModelCallCompleted') AS model_calls, sum(events.input_tokens) AS input_tokens, sum(events.cached_input_tokens) AS cached_input_tokens, sum(events.cache_write_tokens) AS cache_write_tokens, sum(events.output_tokens) AS output_tokens, sum(events.reasoning_tokens) AS reasoning_tokens, sum(events.cost_usd) AS cost_usd, sumIf(events.cost_usd, notEmpty(events.estimated)) AS estimated_cost_usd, countIf(kind = 'ModelCallCompleted' AND notEmpty(events.estimated)) AS estimated_calls, countIf(kind = 'ModelCallCompleted' AND events.cost_usd IS NULL) - countIf(newly_priced_tokens IS NOT NULL) AS unpriced_calls, sumIf(events.input_tokens + events.cached_input_tokens + events.cache_write_tokens + events.output_tokens + events.reasoning_tokens, kind = 'ModelCallCompleted' AND events.cost_usd IS NULL) - sum(ifNull(newly_priced_tokens, 0)) AS unpriced_tokens, sum(events.reported_cost_usd) AS reported_cost_usd
FROM (SELECT * FROM events WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND counted AND kind IN ('ModelCallCompleted', 'CostCorrected') AND session_id IN (SELECT session_id FROM sessions FINAL WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND (ifNull(agent_id IN {value_0:Array(String)}, false)))) AS events
GROUP BY g0, g1
UNION ALL
SELECT nullIf(toString(owner_team_id), '') AS g0, nullIf(toString(day), '') AS g1, sum(p.model_calls) AS model_calls, sum(p.input_tokens) AS input_tokens, sum(p.cached_input_tokens) AS cached_input_tokens, sum(p.cache_write_tokens) AS cache_write_tokens, sum(p.output_tokens) AS output_tokens, sum(p.reasoning_tokens) AS reasoning_tokens, if(sum(p.model_calls) > sum(p.unpriced_calls) OR sum(p.cost_usd) != 0, sum(p.cost_usd), NULL) AS cost_usd, NULL AS estimated_cost_usd, 0 AS estimated_calls, toInt64(sum(p.unpriced_calls)) AS unpriced_calls, sum(p.unpriced_tokens) AS unpriced_tokens, nullIf(sum(p.reported_cost_usd), 0) AS reported_cost_usd
FROM (SELECT * FROM purged_spend WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND (ifNull(agent_id IN {value_0:Array(String)}, false))) AS p
GROUP BY g0, g1
) AS part
GROUP BY g0, g1
ORDER BY sum(part.cost_usd) DESC NULLS LAST, g0, g1 LIMIT 10001

-- scope_org_id = 'acme'
-- scope_team_ids = ('payments',)
-- value_0 = ('billing',)
