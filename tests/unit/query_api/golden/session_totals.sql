SELECT count() AS sessions, sum(found.input_tokens) AS input_tokens, sum(found.cached_input_tokens) AS cached_input_tokens, sum(found.cache_write_tokens) AS cache_write_tokens, sum(found.output_tokens) AS output_tokens, sum(found.reasoning_tokens) AS reasoning_tokens, sum(found.unpriced_calls) AS unpriced_calls, sum(found.unpriced_tokens) AS unpriced_tokens, sum(found.turns) AS turns, sum(found.tool_calls) AS tool_calls, sum(found.tool_errors) AS tool_errors, sum(found.model_calls) AS model_calls, if(sum(found.unpriced_calls) > 0 AND sum(found.priced_calls) = 0, NULL, toString(sum(found.cost_usd))) AS cost_usd
FROM (SELECT input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, unpriced_calls, unpriced_tokens, turns, tool_calls, tool_errors, model_calls, priced_calls, cost_usd
  FROM sessions FINAL WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND (ifNull(agent_id IN {value_0:Array(String)}, false))) AS found

-- scope_org_id = 'acme'
-- scope_team_ids = ('payments',)
-- value_0 = ('billing',)
