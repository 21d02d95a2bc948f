-- A projection is read only where it has fewer granules than the table would have to be read from, and a first page might
-- have to be looked for in all of them. In granules as small as the table's it was never chosen for one, and every row was
-- read. In large ones it always is, and read in its order, to the end of the page alone.

ALTER TABLE sessions DROP PROJECTION IF EXISTS by_start;
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
)
WITH SETTINGS (index_granularity = 1024);
ALTER TABLE sessions MATERIALIZE PROJECTION by_start;
