SELECT g0, g1, g2, g3, sum(part.model_calls) AS model_calls, sum(part.input_tokens) AS input_tokens, sum(part.cached_input_tokens) AS cached_input_tokens, sum(part.cache_write_tokens) AS cache_write_tokens, sum(part.output_tokens) AS output_tokens, sum(part.reasoning_tokens) AS reasoning_tokens, toString(sum(part.cost_usd)) AS cost_usd, toString(sum(part.estimated_cost_usd)) AS estimated_cost_usd, sum(part.estimated_calls) AS estimated_calls, sum(part.unpriced_calls) AS unpriced_calls, sum(part.unpriced_tokens) AS unpriced_tokens, toString(sum(part.reported_cost_usd)) AS reported_cost_usd
FROM (
SELECT nullIf(toString(toDate(broker_time)), '') AS g0, nullIf(toString(session.user_id), '') AS g1, if(empty(turn.tools), NULL, arrayStringConcat(turn.tools, ', ')) AS g2, if(mapContains(session.labels, {value_0:String}), session.labels[{value_0:String}], NULL) AS g3, countIf(kind = 'ModelCallCompleted') AS model_calls, sum(events.input_tokens) AS input_tokens, sum(events.cached_input_tokens) AS cached_input_tokens, sum(events.cache_write_tokens) AS cache_write_tokens, sum(events.output_tokens) AS output_tokens, sum(events.reasoning_tokens) AS reasoning_tokens, sum(events.cost_usd) AS cost_usd, sumIf(events.cost_usd, notEmpty(events.estimated)) AS estimated_cost_usd, countIf(kind = 'ModelCallCompleted' AND notEmpty(events.estimated)) AS estimated_calls, countIf(kind = 'ModelCallCompleted' AND events.cost_usd IS NULL) - countIf(newly_priced_tokens IS NOT NULL) AS unpriced_calls, sumIf(events.input_tokens + events.cached_input_tokens + events.cache_write_tokens + events.output_tokens + events.reasoning_tokens, kind = 'ModelCallCompleted' AND events.cost_usd IS NULL) - sum(ifNull(newly_priced_tokens, 0)) AS unpriced_tokens, sum(events.reported_cost_usd) AS reported_cost_usd
FROM (SELECT * FROM events WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND counted AND kind IN ('ModelCallCompleted', 'CostCorrected') AND session_id IN (SELECT session_id FROM sessions FINAL WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND (unpriced_calls > 0))) AS events
LEFT JOIN (SELECT session_id, user_id, team_id, origin, workflow_id, schedule_id, status, labels FROM sessions FINAL WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)}) AS session
  ON session.session_id = events.session_id
LEFT JOIN (
  SELECT session_id, turn_index, arraySort(groupUniqArray(toString(tool_name))) AS tools
  FROM events WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND counted AND kind IN ('ToolCallStarted', 'ToolCallCompleted') AND turn_index IS NOT NULL GROUP BY session_id, turn_index
) AS turn
  ON turn.session_id = events.session_id AND turn.turn_index = events.turn_index
GROUP BY g0, g1, g2, g3
) AS part
GROUP BY g0, g1, g2, g3
ORDER BY sum(part.cost_usd) DESC NULLS LAST, g0, g1, g2, g3 LIMIT 10001

-- scope_org_id = 'acme'
-- scope_team_ids = ('payments',)
-- value_0 = 'env'
