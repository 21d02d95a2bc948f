-- The list's own order: its first page is then the first rows, however many sessions there are. What only the page of
-- one session shows is left out. Merges drop rows that were replaced from here as well.

ALTER TABLE sessions ADD COLUMN IF NOT EXISTS newest_first Int64
    MATERIALIZED ifNull(-toUnixTimestamp64Micro(started_at), 2305843009213693952)
    COMMENT 'what the list ascends by; sessions of which no start was seen stand last';
ALTER TABLE sessions MODIFY SETTING deduplicate_merge_projection_mode = 'rebuild';
ALTER TABLE sessions ADD PROJECTION IF NOT EXISTS by_start
(
    SELECT
        session_id, log_id, as_of_offset, as_of, org_id, agent_id, agent_name, owner_team_id, team_id, team_name,
        user_id, initiator, origin, schedule_id, workflow_id, workflow_run_id, parent_session_id, timeout_s, labels,
        imported, status, ended_by, end_reason, end_inferred, started_at, completed_at, last_activity_at, turns,
        tool_calls, tool_errors, model_calls, open_tool_calls, open_model_calls, input_tokens, cached_input_tokens,
        cache_write_tokens, output_tokens, reasoning_tokens, cost_usd, priced_calls, unpriced_calls, unpriced_tokens,
        reported_cost_usd, models, tools, mcp_servers, estimated, events, repeated_events, missing_events,
        dropped_events, flags, version, newest_first
    ORDER BY newest_first, session_id
);
ALTER TABLE sessions MATERIALIZE PROJECTION IF EXISTS by_start;
