SELECT session_id, org_id, agent_id, agent_name, owner_team_id, team_id, team_name, user_id, initiator, origin, schedule_id, workflow_id, workflow_run_id, parent_session_id, timeout_s, labels, imported, status, ended_by, end_reason, end_inferred, started_at, completed_at, last_activity_at, turns, tool_calls, tool_errors, model_calls, open_tool_calls, open_model_calls, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost_usd, priced_calls, unpriced_calls, unpriced_tokens, reported_cost_usd, models, tools, mcp_servers, estimated, events, repeated_events, missing_events, dropped_events, flags, log_id, as_of_offset, as_of, toString(ifNull(toUnixTimestamp64Micro(started_at), -1)) AS sort_key
FROM sessions FINAL WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND (ifNull(agent_id IN {value_0:Array(String)}, false)) AND (mapContains(labels, {value_1:String}) AND has({value_2:Array(String)}, labels[{value_1:String}])) AND (session_id IN (SELECT session_id FROM events WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND counted AND kind = 'ToolCallCompleted' AND tool_name = {value_3:String} AND status IN {value_4:Array(String)})) AND ifNull(if(unpriced_calls > 0 AND priced_calls = 0, NULL, cost_usd) > {value_7:Decimal(38, 18)}, false) AND NOT (imported) AND (session_id IN (SELECT session_id FROM events WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND counted AND (hasAllTokens(content, {value_8:String}) OR hasAllTokens(thinking, {value_9:String})))) AND (session_id IN (SELECT session_id FROM events WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND counted AND (hasAllTokens(content, {value_10:String}) OR hasAllTokens(thinking, {value_11:String}))))
ORDER BY ifNull(toUnixTimestamp64Micro(started_at), -1) DESC, session_id DESC
LIMIT {limit:UInt32}

-- limit = 51
-- scope_org_id = 'acme'
-- scope_team_ids = ('payments',)
-- value_0 = ('a', 'b')
-- value_1 = 'env'
-- value_10 = 'two words'
-- value_11 = 'two words'
-- value_2 = ('prod',)
-- value_3 = 'get_order'
-- value_4 = ('ERROR',)
-- value_7 = '0.5'
-- value_8 = 'word'
-- value_9 = 'word'
