SELECT session_id, org_id, agent_id, agent_name, owner_team_id, team_id, team_name, user_id, initiator, origin, schedule_id, workflow_id, workflow_run_id, parent_session_id, timeout_s, labels, imported, status, ended_by, end_reason, end_inferred, started_at, completed_at, last_activity_at, turns, tool_calls, tool_errors, model_calls, open_tool_calls, open_model_calls, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost_usd, priced_calls, unpriced_calls, unpriced_tokens, reported_cost_usd, models, tools, mcp_servers, estimated, events, repeated_events, missing_events, dropped_events, flags, log_id, as_of_offset, as_of, state_log_id, state_offset
FROM sessions FINAL WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND (ifNull(agent_id IN {value_0:Array(String)}, false))
ORDER BY newest_first, session_id LIMIT {limit:UInt32}

-- limit = 100
-- scope_org_id = 'acme'
-- scope_team_ids = ('payments',)
-- value_0 = ('billing',)
