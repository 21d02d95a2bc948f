SELECT session_id, org_id, agent_id, agent_name, owner_team_id, team_id, team_name, user_id, initiator, origin, schedule_id, workflow_id, workflow_run_id, parent_session_id, timeout_s, labels, imported, status, ended_by, end_reason, end_inferred, started_at, completed_at, last_activity_at, turns, tool_calls, tool_errors, model_calls, open_tool_calls, open_model_calls, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost_usd, priced_calls, unpriced_calls, unpriced_tokens, reported_cost_usd, models, tools, mcp_servers, estimated, events, repeated_events, missing_events, dropped_events, flags, log_id, as_of_offset, as_of, toString(ifNull(toUnixTimestamp64Micro(started_at), -1)) AS sort_key
FROM sessions FINAL WHERE true
ORDER BY ifNull(toUnixTimestamp64Micro(started_at), -1) DESC, session_id DESC
LIMIT {limit:UInt32}

-- limit = 51
