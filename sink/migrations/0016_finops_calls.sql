-- What finops sums up are calls, one entry in eight or so. Kept together by kind and in large granules they are read
-- alone: the table's own small granules are for finding the records of one session. Without session_id, so that nothing
-- that looks for sessions is drawn to it.

ALTER TABLE events ADD PROJECTION IF NOT EXISTS by_kind
(
    SELECT
        kind, org_id, broker_time, flags, owner_team_id, agent_id, provider, model, imported, tool_name, mcp_server_id,
        status, latency_ms, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens,
        cost_usd, cache_saved_usd, reported_cost_usd, estimated, newly_priced_tokens
    ORDER BY kind, org_id, broker_time
)
WITH SETTINGS (index_granularity = 8192);
ALTER TABLE events MATERIALIZE PROJECTION by_kind;
