SELECT session_id, org_id, agent_id, agent_name, owner_team_id, team_id, team_name, user_id, initiator, origin, schedule_id, workflow_id, workflow_run_id, parent_session_id, timeout_s, labels, imported, status, ended_by, end_reason, end_inferred, started_at, completed_at, last_activity_at, turns, tool_calls, tool_errors, model_calls, open_tool_calls, open_model_calls, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost_usd, priced_calls, unpriced_calls, unpriced_tokens, reported_cost_usd, models, tools, mcp_servers, estimated, events, repeated_events, missing_events, dropped_events, flags, log_id, as_of_offset, as_of, toString(newest_first) AS sort_key
FROM sessions WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND newest_first IN {starts:Array(Int64)} AND (session_id, version) IN (SELECT session_id, max(version) FROM sessions WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND session_id IN {session_ids:Array(UUID)} GROUP BY session_id) AND (ifNull(agent_id IN {value_0:Array(String)}, false)) AND (mapContains(labels, {value_1:String}) AND has({value_2:Array(String)}, labels[{value_1:String}])) AND ifNull(if(unpriced_calls > 0 AND priced_calls = 0, NULL, cost_usd) > {value_3:Decimal(38, 18)}, false) AND NOT (imported) AND (has(tools, {value_4:String}) OR has(flags, {value_5:String}))

-- scope_org_id = 'acme'
-- scope_team_ids = ('payments',)
-- session_ids = ('0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d',)
-- starts = (-1,)
-- value_0 = ('a', 'b')
-- value_1 = 'env'
-- value_2 = ('prod',)
-- value_3 = '0.5'
-- value_4 = 'get_order'
-- value_5 = 'over_limit'
