SELECT session_id, org_id, agent_id, agent_name, owner_team_id, team_id, team_name, user_id, initiator, origin, schedule_id, workflow_id, workflow_run_id, parent_session_id, timeout_s, labels, imported, status, ended_by, end_reason, end_inferred, started_at, completed_at, last_activity_at, turns, tool_calls, tool_errors, model_calls, open_tool_calls, open_model_calls, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost_usd, priced_calls, unpriced_calls, unpriced_tokens, reported_cost_usd, models, tools, mcp_servers, estimated, events, repeated_events, missing_events, dropped_events, flags, log_id, as_of_offset, as_of, state_log_id, state_offset, base64Encode(sessions.state) AS state,
  length(sessions.state) AS body_bytes
FROM sessions FINAL WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND toInt64(state_offset) > if(has({after_logs:Array(String)}, state_log_id), arrayElement({after_offsets:Array(Int64)}, indexOf({after_logs:Array(String)}, state_log_id)), -1)
ORDER BY state_log_id, state_offset LIMIT {limit:UInt32}

-- after_logs = ['states:0', 'states:1']
-- after_offsets = [7, -1]
-- limit = 500
-- scope_org_id = 'acme'
-- scope_team_ids = ('payments',)
