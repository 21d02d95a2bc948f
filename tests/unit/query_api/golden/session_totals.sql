SELECT count() AS sessions, sum(sessions.input_tokens) AS input_tokens, sum(sessions.cached_input_tokens) AS cached_input_tokens, sum(sessions.cache_write_tokens) AS cache_write_tokens, sum(sessions.output_tokens) AS output_tokens, sum(sessions.reasoning_tokens) AS reasoning_tokens, sum(sessions.unpriced_calls) AS unpriced_calls, sum(sessions.unpriced_tokens) AS unpriced_tokens, sum(sessions.turns) AS turns, sum(sessions.tool_calls) AS tool_calls, sum(sessions.tool_errors) AS tool_errors, sum(sessions.model_calls) AS model_calls,
  if(sum(sessions.unpriced_calls) > 0 AND sum(sessions.priced_calls) = 0, NULL, toString(sum(sessions.cost_usd))) AS cost_usd
FROM sessions FINAL WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND (ifNull(agent_id IN {value_0:Array(String)}, false))

-- scope_org_id = 'acme'
-- scope_team_ids = ('payments',)
-- value_0 = ('billing',)
